// HairpinEngine: virtual time.
//
//   Instant, Duration   integer nanoseconds; the only time there is below the command line
//   EventQueue          what happens next, in the canonical order (time, source)
//   TimerWheel          how late the kernel's timers are
//   SeededRandom        one stream of random numbers per (seed, name)
//   Digest              a hash to compare two runs by
//   SHA256              the hash files and rule chains are named by
//
// It knows nothing of frames. A logical process (in HairpinDatapath) owns one queue and runs its events one after the other.
