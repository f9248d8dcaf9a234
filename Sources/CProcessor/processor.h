// Instructions that Swift has no name for. They change when something happens, or how fast, never what.

// Tells the processor that a loop only waits, so that it spends less on it and leaves more to the thread beside. Nothing where there is no such
// instruction.
static inline void hairpin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ volatile("yield");
#endif
}

// Asks for the cache line at an address, without waiting for it. Any address will do.
static inline void hairpin_prefetch(const void *address) { __builtin_prefetch(address); }
// The same for a line that will be written to.
static inline void hairpin_prefetch_to_write(const void *address) { __builtin_prefetch(address, 1); }

// The sum of the 32-bit words of `count` bytes, which are a multiple of 64, modulo 2^64: what a checksum is made of. To be called only
// where `hairpin_has_wide_sum` says that the processor can do it.
#if defined(__x86_64__)
#include <immintrin.h>
static inline int hairpin_has_wide_sum(void) { return __builtin_cpu_supports("avx2"); }
__attribute__((target("avx2"))) static inline unsigned long long hairpin_wide_sum(const void *bytes, unsigned long count) {
  // Lanes of 64 bits are added whole, and their upper halves once more: the sum of the lower halves is the difference, whatever the carry.
  __m256i whole0 = _mm256_setzero_si256(), whole1 = whole0, upper0 = whole0, upper1 = whole0;
  for (const char *at = bytes, *end = at + count; at != end; at += 64) {
    const __m256i a = _mm256_loadu_si256((const __m256i *)at), b = _mm256_loadu_si256((const __m256i *)(at + 32));
    whole0 = _mm256_add_epi64(whole0, a);
    whole1 = _mm256_add_epi64(whole1, b);
    upper0 = _mm256_add_epi64(upper0, _mm256_srli_epi64(a, 32));
    upper1 = _mm256_add_epi64(upper1, _mm256_srli_epi64(b, 32));
  }
  const __m256i whole = _mm256_add_epi64(whole0, whole1), upper = _mm256_add_epi64(upper0, upper1);
  const __m256i lanes = _mm256_add_epi64(_mm256_sub_epi64(whole, _mm256_slli_epi64(upper, 32)), upper);
  const __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  return (unsigned long long)_mm_cvtsi128_si64(pair) + (unsigned long long)_mm_extract_epi64(pair, 1);
}
#else
static inline int hairpin_has_wide_sum(void) { return 0; }
static inline unsigned long long hairpin_wide_sum(const void *bytes, unsigned long count) { return 0; }
#endif
