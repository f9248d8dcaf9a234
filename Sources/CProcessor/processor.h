// Instructions that Swift has no name for. They change when something happens, never what.

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
