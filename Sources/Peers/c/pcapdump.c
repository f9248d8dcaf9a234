// How fast does libpcap write? The same frames over and over through pcap_dump, with times that go on.
//
//     pcapdump [SIZE [FILE [FRAMES [REPEATS]]]]
//
// SIZE is a frame's bytes, FILE by default the null device. The 64 frames stay in the cache.
// Output: "pcapdump size=64 median 20.0 min 19.0 max 21.0 Mframes/s (n=1)".
#include "common.h"
#include <pcap/pcap.h>

int main(int argc, char **argv) {
    uint32_t size = (uint32_t)argument(argc, argv, 1, 64, 14, 65535);
    const char *file = argc > 2 ? argv[2] : "/dev/null";
    uint64_t count = argument(argc, argv, 3, 10000000, 1, 1000000000000);
    int repeats = (int)argument(argc, argv, 4, 5, 1, MAXIMUM_REPEATS);
    enum { RING = 64 };
    uint8_t *ring = big_alloc((size_t)RING * size);
    pcap_t *link = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, 65535, PCAP_TSTAMP_PRECISION_NANO);
    if (!link) return 1;
    double values[MAXIMUM_REPEATS];
    // The first repeat warms the caches.
    for (int repeat = -1; repeat < repeats; repeat++) {
        double begin = now_s();
        pcap_dumper_t *dumper = pcap_dump_open(link, file);
        if (!dumper) {
            fprintf(stderr, "pcapdump: %s\n", pcap_geterr(link));
            return 1;
        }
        uint64_t time = 0;
        for (uint64_t i = 0; i < count; i++, time += 1000) {
            // The sub-second part is in nanoseconds in such a file.
            struct pcap_pkthdr header = {.ts = {.tv_sec = (time_t)(time / 1000000000), .tv_usec = (suseconds_t)(time % 1000000000)}, .caplen = size, .len = size};
            pcap_dump((uint8_t *)dumper, &header, ring + (i % RING) * size);
        }
        if (pcap_dump_flush(dumper)) {
            fprintf(stderr, "pcapdump: %s cannot be written\n", file);
            return 1;
        }
        pcap_dump_close(dumper);
        double seconds = now_s() - begin;
        if (repeat >= 0) values[repeat] = (double)count / seconds / 1e6;
    }
    char label[64];
    snprintf(label, sizeof label, "pcapdump size=%u", size);
    report(label, values, repeats, "Mframes/s");
    return 0;
}
