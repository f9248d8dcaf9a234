// What the C programs share: a clock, a random generator, memory in huge pages, and the line that is printed.
#ifndef COMMON_H
#define COMMON_H
#define _GNU_SOURCE
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MAXIMUM_REPEATS 1000

// A function with constant arguments becomes a loop of its own for each structure, as a macro would make it.
#define SPECIALISED static inline __attribute__((always_inline))

// The value is wanted: the compiler must not remove what it was computed from.
#define KEEP(x) __asm__ volatile("" : : "r"(x) : "memory")

static inline double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// xorshift64*; the seed never changes, so that every run does the same work.
static uint64_t random_state = 0x9E3779B97F4A7C15ull;
static inline uint64_t random_next(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1Dull;
}

// Exponentially distributed numbers of mean 1, drawn beforehand: logarithms are not what is measured.
static inline void fill_exponential(double *table) {
    for (int i = 0; i < 65536; i++) table[i] = -log(((double)(random_next() >> 11) + 0.5) / 9007199254740992.0);
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// "<label> median 1.0 min 0.9 max 1.1 <unit> (n=5)"; sorts the values.
static void report(const char *label, double *values, int count, const char *unit) {
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    printf("%-52s median %10.3f  min %10.3f  max %10.3f  %s (n=%d)\n", label, values[count / 2], values[0], values[count - 1], unit, count);
    fflush(stdout);
}

// Huge pages, and touched, so that neither page faults nor the address cache are measured.
static void *big_alloc(size_t size) {
    const size_t huge = 2u << 20;
    size = (size + huge - 1) & ~(huge - 1);
    void *memory = aligned_alloc(huge, size);
    if (!memory) {
        perror("aligned_alloc");
        exit(1);
    }
    madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 1, size);
    return memory;
}

// The argument in this place, or what it is by default. Anything but a whole number in the range ends the program.
static inline uint64_t argument(int argc, char **argv, int place, uint64_t otherwise, uint64_t least, uint64_t most) {
    if (argc <= place) return otherwise;
    char *end;
    uint64_t value = strtoull(argv[place], &end, 10);
    if (argv[place][0] < '0' || argv[place][0] > '9' || *end || value < least || value > most) {
        fprintf(stderr, "%s: argument %d: %s is not a number from %llu to %llu\n", argv[0], place, argv[place], (unsigned long long)least, (unsigned long long)most);
        exit(64);
    }
    return value;
}
#endif
