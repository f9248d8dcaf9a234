// What the programs that drive the kernel share.
#pragma once
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static inline double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Ends the program with the reason of the last system call.
static inline void check(int result, const char *what) {
    if (result >= 0) return;
    perror(what);
    exit(1);
}

static inline void usage(const char *words) {
    fprintf(stderr, "usage: %s\n", words);
    exit(64);
}

// Packets an interface of this namespace has received.
static inline uint64_t received_packets(const char *interface) {
    char path[128];
    unsigned long long value = 0;
    snprintf(path, sizeof path, "/sys/class/net/%s/statistics/rx_packets", interface);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%llu", &value) != 1) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    return value;
}
