// How fast can the whole bridge job be? A discrete-event emulation of N hosts on one learning switch with the workload of ns3/bridge.cc: links of 1 Gbit/s
// and 1 us, 30 % load, Poisson arrivals, uniform random unicast. Headers of 14 bytes in buffers of 2 KiB, handles in queues, a table that learns and is
// looked up for every frame, queues of 256 frames, a deterministic order by (time, sequence).
//
//     desswitch [FRAMES [REPEATS [MODE [HOSTS [SIZE]]]]]
//
// Modes: lit_* have five events a frame, as ns-3 has (generated, sent, arrived, sent, arrived); mrg_* have three, because a frame's departure is computed
// when it is queued. *_heap is a 4-ary heap, *_wheel a timing wheel of 8 levels with 256 slots. mrg_heap_copy: the switch copies the frame, instead of
// handing on a number. mrg_heap_cap: a pcap record is written to memory at two points of the way. With a MODE alone HOSTS is 16 and SIZE 64.
#include "common.h"

enum { GENERATE, SENT, ARRIVED };
enum { FRAME_COUNT = 8192, QUEUE_LIMIT = 256, MAXIMUM_HOSTS = 1024, EVENT_COUNT = 65536, CAPTURE_BYTES = 16 << 20 };

// 24 bytes, with the link of the wheel's lists.
typedef struct {
    uint64_t time;
    uint32_t sequence;
    uint16_t kind, port;
    uint32_t frame, next;
} event;

// What is compiled into a loop of its own.
typedef struct {
    bool is_wheel, is_literal, copies, captures;
} variant;

typedef struct {
    uint8_t bytes[2048];
} frame;
static frame *frames;
static uint32_t *free_frames, free_count;
static uint32_t lengths[FRAME_COUNT];

// One direction of a link. Hosts have the even numbers, the switch's ports the odd ones.
typedef struct {
    uint32_t queue[QUEUE_LIMIT], head, tail;
    uint8_t is_busy;
    uint64_t free_at;
    uint32_t peer;
    uint8_t padding;
    uint64_t drops;
} port;
static port *ports;
static uint32_t hosts, size;
static double mean_gap;
static double exponential[65536];
static uint64_t now, received, sent, event_count;
static uint32_t sequence;
static uint8_t (*addresses)[6];

// ---- The switch's table.

typedef struct {
    uint64_t key;
    uint32_t port, seen;
} entry;
static entry *table;
static uint32_t table_mask;

// Eight bytes are read and two of them dropped: one load instead of two.
static inline uint64_t mac48(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, 8);
    return value & 0xFFFFFFFFFFFFull;
}

static inline entry *probe(uint64_t key) {
    uint32_t i = (uint32_t)((key * 0x9E3779B97F4A7C15ull) >> 32) & table_mask;
    while (table[i].key != key && table[i].key) i = (i + 1) & table_mask;
    return &table[i];
}

// ---- A capture in memory that begins anew when it is full.

static uint8_t *captured;
static size_t capture_end;

static inline void capture(const uint8_t *bytes, uint32_t length) {
    if (capture_end + 16 + length > CAPTURE_BYTES) capture_end = 0;
    uint32_t header[4] = {(uint32_t)(now / 1000000000u), (uint32_t)(now % 1000000000u), length, length};
    memcpy(captured + capture_end, header, 16);
    memcpy(captured + capture_end + 16, bytes, length);
    capture_end += 16 + length;
}

// ---- A 4-ary heap.

static event *heap;
static size_t heap_count;

static inline bool is_less(const event *a, const event *b) { return a->time < b->time || (a->time == b->time && a->sequence < b->sequence); }

static inline void heap_push(event e) {
    size_t i = heap_count++;
    while (i) {
        size_t parent = (i - 1) / 4;
        if (!is_less(&e, &heap[parent])) break;
        heap[i] = heap[parent];
        i = parent;
    }
    heap[i] = e;
}

static inline event heap_pop(void) {
    event top = heap[0], e = heap[--heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = i * 4 + 1;
        if (child >= heap_count) break;
        size_t least = child, end = child + 4 < heap_count ? child + 4 : heap_count;
        for (size_t k = child + 1; k < end; k++)
            if (is_less(&heap[k], &heap[least])) least = k;
        if (!is_less(&heap[least], &e)) break;
        heap[i] = heap[least];
        i = least;
    }
    heap[i] = e;
    return top;
}

// ---- A hierarchical timing wheel.

static event *nodes;
static uint32_t first_free;
#include "wheel.h"

static inline void wheel_push(event e) {
    uint32_t n = first_free;
    first_free = nodes[n].next;
    nodes[n] = e;
    wheel_place(n);
}

static inline event wheel_pop(void) {
    uint32_t n = wheel_next();
    event e = nodes[n];
    nodes[n].next = first_free;
    first_free = n;
    return e;
}

// ---- The emulation.

SPECIALISED void push(variant v, uint64_t time, uint16_t kind, uint32_t at, uint32_t f) {
    event e = {time, sequence++, kind, (uint16_t)at, f, 0};
    if (v.is_wheel) wheel_push(e); else heap_push(e);
}
SPECIALISED event pop(variant v) { return v.is_wheel ? wheel_pop() : heap_pop(); }

static inline void release(uint32_t f) { free_frames[free_count++] = f; }

// Puts a frame on a link. At 1 Gbit/s a byte takes 8 ns; the delay is 1000 ns.
SPECIALISED void transmit(variant v, uint32_t p, uint32_t f) {
    port *out = &ports[p];
    uint64_t duration = (uint64_t)lengths[f] * 8;
    if (v.captures) capture(frames[f].bytes, lengths[f]);
    if (v.is_literal) {
        if (out->tail - out->head >= QUEUE_LIMIT) {
            out->drops++;
            release(f);
            return;
        }
        out->queue[out->tail++ & 255] = f;
        if (!out->is_busy) {
            out->is_busy = 1;
            uint32_t next = out->queue[out->head++ & 255];
            push(v, now + (uint64_t)lengths[next] * 8, SENT, p, next);
        }
    } else {
        uint64_t begin = out->free_at > now ? out->free_at : now;
        if (begin - now > QUEUE_LIMIT * duration) {
            out->drops++;
            release(f);
            return;
        }
        out->free_at = begin + duration;
        push(v, begin + duration + 1000, ARRIVED, out->peer, f);
    }
}

SPECIALISED void generate(variant v, uint32_t host) {
    uint64_t x = random_next();
    uint32_t destination = (uint32_t)(((x >> 32) * (hosts - 1)) >> 32);
    if (destination >= host) destination++;
    uint32_t f = free_frames[--free_count];
    memcpy(frames[f].bytes, addresses[destination], 6);
    memcpy(frames[f].bytes + 6, addresses[host], 6);
    frames[f].bytes[12] = 8;
    frames[f].bytes[13] = 0;
    lengths[f] = size;
    sent++;
    transmit(v, 2 * host, f);
    push(v, now + (uint64_t)(exponential[x & 65535] * mean_gap) + 1, GENERATE, host, 0);
}

SPECIALISED void switch_frame(variant v, uint32_t ingress, uint32_t f) {
    const uint8_t *bytes = frames[f].bytes;
    entry *source = probe(mac48(bytes + 6));
    source->key = mac48(bytes + 6);
    source->port = ingress;
    source->seen = (uint32_t)(now >> 20);
    entry *destination = probe(mac48(bytes));
    if (!destination->key) {
        release(f);
        return;
    }
    if (v.copies) {
        uint32_t copy = free_frames[--free_count];
        memcpy(frames[copy].bytes, bytes, lengths[f]);
        lengths[copy] = lengths[f];
        release(f);
        f = copy;
    }
    transmit(v, destination->port, f);
}

// Seconds until so many more frames have been received.
SPECIALISED double run(variant v, uint64_t count) {
    uint64_t end = received + count, events = 0;
    double begin = now_s();
    while (received < end) {
        event e = pop(v);
        now = e.time;
        events++;
        switch (e.kind) {
        case GENERATE: generate(v, e.port); break;
        case SENT: {
            port *out = &ports[e.port];
            push(v, now + 1000, ARRIVED, out->peer, e.frame);
            if (out->head != out->tail) {
                uint32_t next = out->queue[out->head++ & 255];
                push(v, now + (uint64_t)lengths[next] * 8, SENT, e.port, next);
            } else {
                out->is_busy = 0;
            }
            break;
        }
        default:
            if (e.port & 1) {
                switch_frame(v, e.port, e.frame);
            } else {
                if (memcmp(frames[e.frame].bytes, addresses[e.port >> 1], 6) == 0) received++;
                release(e.frame);
            }
        }
    }
    event_count = events;
    return now_s() - begin;
}

#define LOOP(NAME, ...) \
    static double NAME(uint64_t count) { return run((variant){__VA_ARGS__}, count); }
LOOP(lit_heap, .is_literal = true)
LOOP(lit_wheel, .is_literal = true, .is_wheel = true)
LOOP(mrg_heap, .is_wheel = false)
LOOP(mrg_wheel, .is_wheel = true)
LOOP(mrg_heap_copy, .copies = true)
LOOP(mrg_heap_cap, .captures = true)

static const struct {
    const char *name;
    double (*loop)(uint64_t);
    bool is_wheel;
} modes[] = {
    {"lit_heap", lit_heap, false},   {"lit_wheel", lit_wheel, true},          {"mrg_heap", mrg_heap, false},
    {"mrg_wheel", mrg_wheel, true}, {"mrg_heap_copy", mrg_heap_copy, false}, {"mrg_heap_cap", mrg_heap_cap, false},
};
enum { MODE_COUNT = sizeof modes / sizeof *modes };

// Every repeat begins with the same state, addresses known to the switch.
static void reset(bool is_wheel) {
    now = received = sent = 0;
    sequence = 0;
    heap_count = 0;
    free_count = 0;
    random_state = 0x9E3779B97F4A7C15ull;
    for (uint32_t i = FRAME_COUNT - 1; i > 0; i--) free_frames[free_count++] = i;
    memset(used, 0, sizeof used);
    wheel_now = 0;
    first_free = 1;
    for (uint32_t i = 0; i < EVENT_COUNT; i++) nodes[i].next = i + 1;
    memset(ports, 0, sizeof(port) * 2 * hosts);
    memset(table, 0, (table_mask + 1) * sizeof *table);
    for (uint32_t i = 0; i < hosts; i++) {
        ports[2 * i].peer = 2 * i + 1;
        ports[2 * i + 1].peer = 2 * i;
    }
    for (uint32_t i = 0; i < hosts; i++) {
        entry *e = probe(mac48(addresses[i]));
        e->key = mac48(addresses[i]);
        e->port = 2 * i + 1;
    }
    for (uint32_t i = 0; i < hosts; i++) {
        event e = {(uint64_t)(exponential[random_next() & 65535] * mean_gap) + 1, sequence++, GENERATE, (uint16_t)i, 0, 0};
        if (is_wheel) wheel_push(e); else heap_push(e);
    }
}

static void measure(int mode, uint64_t count, int repeats) {
    double frame_rates[MAXIMUM_REPEATS], event_rates[MAXIMUM_REPEATS];
    for (int repeat = 0; repeat < repeats; repeat++) {
        reset(modes[mode].is_wheel);
        modes[mode].loop(count / 10);
        double seconds = modes[mode].loop(count);
        frame_rates[repeat] = (double)count / seconds / 1e6;
        event_rates[repeat] = (double)event_count / seconds / 1e6;
    }
    uint64_t drops = 0;
    for (uint32_t i = 0; i < 2 * hosts; i++) drops += ports[i].drops;
    char label[128];
    snprintf(label, sizeof label, "%s N=%u size=%u (drops %llu)", modes[mode].name, hosts, size, (unsigned long long)drops);
    report(label, frame_rates, repeats, "Mframes/s");
    report("   events", event_rates, repeats, "Mevents/s");
}

int main(int argc, char **argv) {
    uint64_t count = argument(argc, argv, 1, 3000000, 1, 1000000000000);
    int repeats = (int)argument(argc, argv, 2, 5, 1, MAXIMUM_REPEATS);
    const char *only = argc > 3 ? argv[3] : NULL;
    uint32_t only_hosts = (uint32_t)argument(argc, argv, 4, 16, 2, MAXIMUM_HOSTS);
    uint32_t only_size = (uint32_t)argument(argc, argv, 5, 64, 14, sizeof(frame));
    bool is_known = !only;
    for (int mode = 0; mode < MODE_COUNT; mode++) is_known |= only && !strcmp(only, modes[mode].name);
    if (!is_known) {
        fprintf(stderr, "desswitch: %s is none of", only);
        for (int mode = 0; mode < MODE_COUNT; mode++) fprintf(stderr, " %s", modes[mode].name);
        fprintf(stderr, "\n");
        return 64;
    }
    fill_exponential(exponential);
    frames = big_alloc(FRAME_COUNT * sizeof *frames);
    free_frames = malloc(FRAME_COUNT * sizeof *free_frames);
    heap = big_alloc(EVENT_COUNT * sizeof *heap);
    nodes = big_alloc((EVENT_COUNT + 1) * sizeof *nodes);
    captured = big_alloc(CAPTURE_BYTES);
    table = big_alloc(8192 * sizeof *table);
    table_mask = 8191;
    ports = big_alloc(sizeof(port) * 2 * MAXIMUM_HOSTS);
    // Room after the last address for the two bytes that are read and dropped.
    addresses = malloc(MAXIMUM_HOSTS * 8 * 6);
    for (uint32_t i = 0; i < MAXIMUM_HOSTS; i++) {
        uint64_t address = 0x02ull | ((uint64_t)(i + 1) << 24);
        memcpy(addresses[i], &address, 6);
    }
    const uint32_t host_counts[] = {16, 64, 1024}, sizes[] = {64, 1500};
    for (int a = 0; a < (only ? 1 : 3); a++)
        for (int b = 0; b < (only ? 1 : 2); b++) {
            hosts = only ? only_hosts : host_counts[a];
            size = only ? only_size : sizes[b];
            mean_gap = size * 8.0 / 0.3;
            for (int mode = 0; mode < MODE_COUNT; mode++)
                if (!only || !strcmp(only, modes[mode].name)) measure(mode, count, repeats);
        }
    return 0;
}
