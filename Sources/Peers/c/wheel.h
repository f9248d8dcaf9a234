// A hierarchical timing wheel: 8 levels of 256 slots, a tick of 1 ns. An event's level is the highest byte in which its time differs from the
// present; slots are first in, first out, so that equal times leave in the order they came.
//
// It links events through `nodes`, an array of structures with a `time` and the number of the `next` (0 for none), which whoever includes it has.

#define LEVELS 8
static uint32_t heads[LEVELS][256], tails[LEVELS][256];
static uint64_t used[LEVELS][4], wheel_now;

static inline void wheel_place(uint32_t n) {
    uint64_t difference = nodes[n].time ^ wheel_now;
    int level = difference ? (63 - __builtin_clzll(difference)) >> 3 : 0;
    uint32_t slot = (uint32_t)(nodes[n].time >> (8 * level)) & 255;
    nodes[n].next = 0;
    if (used[level][slot >> 6] >> (slot & 63) & 1) {
        nodes[tails[level][slot]].next = n;
    } else {
        heads[level][slot] = n;
        used[level][slot >> 6] |= 1ull << (slot & 63);
    }
    tails[level][slot] = n;
}

static inline int wheel_first(int level, uint32_t from) {
    for (uint32_t word = from >> 6; word < 4; word++) {
        uint64_t bits = used[level][word];
        if (word == from >> 6) bits &= ~0ull << (from & 63);
        if (bits) return (int)(word * 64 + (uint32_t)__builtin_ctzll(bits));
    }
    return -1;
}

// The next event's node, which leaves the wheel; there must be one.
static inline uint32_t wheel_next(void) {
    for (;;) {
        int slot = wheel_first(0, (uint32_t)wheel_now & 255);
        if (slot >= 0) {
            uint32_t n = heads[0][slot];
            wheel_now = nodes[n].time;
            heads[0][slot] = nodes[n].next;
            if (!nodes[n].next) used[0][slot >> 6] &= ~(1ull << (slot & 63));
            return n;
        }
        // The next slot of the lowest level that has one is dealt out to the levels below.
        for (int level = 1; level < LEVELS; level++) {
            slot = wheel_first(level, (uint32_t)(wheel_now >> (8 * level)) & 255);
            if (slot < 0) continue;
            wheel_now = (wheel_now & (~0ull << (8 * level) << 8)) | ((uint64_t)slot << (8 * level));  // two shifts: one by 64 is undefined
            uint32_t n = heads[level][slot];
            used[level][slot >> 6] &= ~(1ull << (slot & 63));
            while (n) {
                uint32_t next = nodes[n].next;
                wheel_place(n);
                n = next;
            }
            break;
        }
    }
}
