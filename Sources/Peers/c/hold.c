// The hold model (Jones 1986): N events are pending; each step takes the least by (time, sequence) and puts one back later by an exponentially distributed
// time of mean 1 ms, at a resolution of 1 ns. How fast can a queue be that does nothing else?
//
//     hold [SCALE [STRUCTURE [PENDING [REPEATS]]]]
//
// SCALE divides the number of steps. STRUCTURE is binary-heap, 4-ary-heap, calendar, timing-wheel, or all; PENDING is 0 for 1000, 100000 and 1000000.
#include "common.h"

enum structure { BINARY_HEAP, QUATERNARY_HEAP, CALENDAR, TIMING_WHEEL, STRUCTURE_COUNT };
static const char *const names[] = {"binary-heap", "4-ary-heap", "calendar", "timing-wheel"};

// 16 bytes: four fit a cache line.
typedef struct {
    uint64_t time;
    uint32_t sequence, id;
} event;

static double exponential[65536];
static inline uint64_t increment(uint64_t x, double mean) { return (uint64_t)(exponential[x & 65535] * mean) + 1; }

// ---- Heaps of any arity. A hole is moved instead of swapping; pop and push stay two operations, as in an engine whose events schedule others.

static event *heap;
static size_t heap_count;

static inline bool is_less(const event *a, const event *b) { return a->time < b->time || (a->time == b->time && a->sequence < b->sequence); }

SPECIALISED void heap_push(event e, size_t arity) {
    size_t i = heap_count++;
    while (i) {
        size_t parent = (i - 1) / arity;
        if (!is_less(&e, &heap[parent])) break;
        heap[i] = heap[parent];
        i = parent;
    }
    heap[i] = e;
}

SPECIALISED event heap_pop(size_t arity) {
    event top = heap[0], e = heap[--heap_count];
    size_t i = 0, n = heap_count;
    for (;;) {
        size_t child = i * arity + 1;
        if (child >= n) break;
        size_t least = child, end = child + arity < n ? child + arity : n;
        for (size_t k = child + 1; k < end; k++)
            if (is_less(&heap[k], &heap[least])) least = k;
        if (!is_less(&heap[least], &e)) break;
        heap[i] = heap[least];
        i = least;
    }
    heap[i] = e;
    return top;
}

// ---- Nodes of lists, for calendar and wheel. Number 0 is the end of a list.

typedef struct {
    uint64_t time;
    uint32_t sequence, id;
    uint32_t next, padding;
} node;
static node *nodes;
static uint32_t first_free;

static void make_nodes(size_t count) {
    nodes = big_alloc(count * sizeof *nodes);
    for (size_t i = 0; i < count; i++) nodes[i].next = (uint32_t)i + 1;
    first_free = 1;
}
static inline uint32_t take(event e) {
    uint32_t n = first_free;
    first_free = nodes[n].next;
    nodes[n].time = e.time;
    nodes[n].sequence = e.sequence;
    nodes[n].id = e.id;
    return n;
}
static inline void give(uint32_t n) {
    nodes[n].next = first_free;
    first_free = n;
}
static inline event event_of(uint32_t n) { return (event){nodes[n].time, nodes[n].sequence, nodes[n].id}; }

// ---- A calendar: a power of two of days, a sorted list for each. It is made for N and never resized: a limit, not a structure for general use.

static uint32_t *days;
static uint64_t day_mask, today;
static int day_shift;

static void calendar_make(size_t pending, double mean) {
    size_t count = 1;
    while (count < pending) count *= 2;
    make_nodes(pending + 4);
    days = big_alloc(count * sizeof *days);
    memset(days, 0, count * sizeof *days);
    day_mask = count - 1;
    day_shift = 0;
    while ((1ull << (day_shift + 1)) <= (uint64_t)(mean / (double)pending * 2)) day_shift++;
    today = 0;
}

static inline void calendar_push(event e) {
    uint32_t n = take(e);
    uint32_t *place = &days[(e.time >> day_shift) & day_mask];
    while (*place && (nodes[*place].time < e.time || (nodes[*place].time == e.time && nodes[*place].sequence < e.sequence))) place = &nodes[*place].next;
    nodes[n].next = *place;
    *place = n;
}

static inline event calendar_pop(void) {
    for (;;) {
        uint32_t *place = &days[today & day_mask], n = *place;
        if (n && (nodes[n].time >> day_shift) == today) {
            event e = event_of(n);
            *place = nodes[n].next;
            give(n);
            return e;
        }
        today++;
    }
}

// ---- A hierarchical timing wheel.

#include "wheel.h"

static inline void wheel_push(event e) { wheel_place(take(e)); }

static inline event wheel_pop(void) {
    uint32_t n = wheel_next();
    event e = event_of(n);
    give(n);
    return e;
}

// ---- The model.

SPECIALISED void push(enum structure s, event e) {
    switch (s) {
    case BINARY_HEAP: heap_push(e, 2); break;
    case QUATERNARY_HEAP: heap_push(e, 4); break;
    case CALENDAR: calendar_push(e); break;
    default: wheel_push(e);
    }
}

SPECIALISED event pop(enum structure s) {
    switch (s) {
    case BINARY_HEAP: return heap_pop(2);
    case QUATERNARY_HEAP: return heap_pop(4);
    case CALENDAR: return calendar_pop();
    default: return wheel_pop();
    }
}

static void make(enum structure s, size_t pending, double mean) {
    switch (s) {
    case BINARY_HEAP: heap = big_alloc((pending + 8) * sizeof(event)); break;
    // Four children lie in one cache line.
    case QUATERNARY_HEAP: heap = (event *)((char *)big_alloc((pending + 16) * sizeof(event)) + 48); break;
    case CALENDAR: calendar_make(pending, mean); break;
    default:
        make_nodes(pending + 4);
        memset(used, 0, sizeof used);
        wheel_now = 0;
    }
    heap_count = 0;
}

SPECIALISED void measure(enum structure s, size_t pending, size_t steps, int repeats) {
    const double mean = 1e6;
    make(s, pending, mean);
    uint32_t sequence = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < pending; i++) {
        event e = {increment(random_next(), mean), sequence++, (uint32_t)i};
        push(s, e);
    }
    double values[MAXIMUM_REPEATS];
    // The first repeat warms caches and brings the times' distribution to its steady state.
    for (int repeat = -1; repeat < repeats; repeat++) {
        double begin = now_s();
        for (size_t i = 0; i < steps; i++) {
            event e = pop(s);
            if (e.time < last) abort();
            last = e.time;
            e.time += increment((uint64_t)sequence * 40503u, mean);
            e.sequence = sequence++;
            push(s, e);
        }
        double seconds = now_s() - begin;
        if (repeat >= 0) values[repeat] = (double)steps / seconds / 1e6;
    }
    char label[96];
    snprintf(label, sizeof label, "hold %s N=%zu mean=%.0fns", names[s], pending, mean);
    report(label, values, repeats, "Mevents/s");
}

int main(int argc, char **argv) {
    size_t scale = argument(argc, argv, 1, 1, 1, 1000000);
    const char *only = argc > 2 && strcmp(argv[2], "all") ? argv[2] : NULL;
    size_t pending = argument(argc, argv, 3, 0, 0, 100000000);
    int repeats = (int)argument(argc, argv, 4, 5, 1, MAXIMUM_REPEATS);
    bool is_known = !only;
    for (int s = 0; s < STRUCTURE_COUNT; s++) is_known |= only && !strcmp(only, names[s]);
    if (!is_known) {
        fprintf(stderr, "hold: %s is none of binary-heap, 4-ary-heap, calendar, timing-wheel, all\n", only);
        return 64;
    }
    fill_exponential(exponential);
    const size_t sizes[] = {1000, 100000, 1000000};
    for (int k = 0; k < (pending ? 1 : 3); k++) {
        size_t n = pending ? pending : sizes[k], steps = (n >= 1000000 ? 4000000 : 10000000) / scale;
        if (!only || !strcmp(only, names[BINARY_HEAP])) measure(BINARY_HEAP, n, steps, repeats);
        if (!only || !strcmp(only, names[QUATERNARY_HEAP])) measure(QUATERNARY_HEAP, n, steps, repeats);
        if (!only || !strcmp(only, names[CALENDAR])) measure(CALENDAR, n, steps, repeats);
        if (!only || !strcmp(only, names[TIMING_WHEEL])) measure(TIMING_WHEEL, n, steps, repeats);
    }
    return 0;
}
