// The least a learning bridge does: read the addresses of a frame of 64 bytes, learn the source with its port and time, look up the destination.
// Open addressing with linear probing, entries of 16 bytes, load factor 1/2. The frames lie in a pool that stays in the cache (2048 frames are 128 KiB)
// or does not (262144 are 16 MiB).
//
//     maclookup [HOSTS [POOL [REPEATS]]]
//
// HOSTS is a power of two, or 0 for 64, 4096 and 65536; POOL is 0 for both sizes.
#include "common.h"

typedef struct {
    uint64_t key;
    uint32_t port, seen;
} entry;
static entry *table;
static uint32_t mask;

// Eight bytes are read and two of them dropped: one load instead of two.
static inline uint64_t mac48(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, 8);
    return value & 0xFFFFFFFFFFFFull;
}
static inline uint32_t hash(uint64_t key) { return (uint32_t)((key * 0x9E3779B97F4A7C15ull) >> 32); }

static inline entry *probe(uint64_t key) {
    uint32_t i = hash(key) & mask;
    while (table[i].key != key && table[i].key) i = (i + 1) & mask;
    return &table[i];
}

// 02 in the first byte: locally administered.
static inline uint64_t address(uint64_t number) { return 0x02ull | ((number + 1) << 16); }

static void run(uint32_t hosts, uint32_t pool, int repeats) {
    uint32_t capacity = hosts * 2;
    mask = capacity - 1;
    table = big_alloc(capacity * sizeof *table);
    memset(table, 0, capacity * sizeof *table);
    uint8_t *frames = big_alloc((size_t)pool * 64);
    for (uint32_t i = 0; i < pool; i++) {
        uint64_t destination = address(random_next() % hosts), source = address(random_next() % hosts);
        memcpy(frames + (size_t)i * 64, &destination, 6);
        memcpy(frames + (size_t)i * 64 + 6, &source, 6);
    }
    for (uint32_t i = 0; i < hosts; i++) {
        entry *e = probe(address(i));
        e->key = address(i);
        e->port = i & 63;
    }
    double values[MAXIMUM_REPEATS];
    const uint32_t count = 20000000;
    uint64_t sum = 0;
    // The first repeat warms the caches.
    for (int repeat = -1; repeat < repeats; repeat++) {
        double begin = now_s();
        uint32_t k = 0;
        for (uint32_t i = 0; i < count; i++) {
            const uint8_t *frame = frames + (size_t)k * 64;
            if (++k == pool) k = 0;
            entry *source = probe(mac48(frame + 6));
            source->key = mac48(frame + 6);
            source->port = i & 63;
            source->seen = i;
            entry *destination = probe(mac48(frame));
            sum += destination->key ? destination->port : 999;
        }
        double seconds = now_s() - begin;
        KEEP(sum);
        if (repeat >= 0) values[repeat] = seconds / count * 1e9;
    }
    char label[96];
    snprintf(label, sizeof label, "learn+lookup hosts=%u frame_pool=%u", hosts, pool);
    report(label, values, repeats, "ns/frame");
    free(table);
    free(frames);
}

int main(int argc, char **argv) {
    uint32_t hosts = (uint32_t)argument(argc, argv, 1, 0, 0, 1u << 24), pool = (uint32_t)argument(argc, argv, 2, 0, 0, 1u << 24);
    int repeats = (int)argument(argc, argv, 3, 7, 1, MAXIMUM_REPEATS);
    if (hosts & (hosts - 1)) {
        fprintf(stderr, "maclookup: %u is no power of two\n", hosts);
        return 64;
    }
    const uint32_t host_counts[] = {64, 4096, 65536}, pools[] = {2048, 262144};
    for (int i = 0; i < (hosts ? 1 : 3); i++)
        for (int j = 0; j < (pool ? 1 : 2); j++) run(hosts ? hosts : host_counts[i], pool ? pool : pools[j], repeats);
    return 0;
}
