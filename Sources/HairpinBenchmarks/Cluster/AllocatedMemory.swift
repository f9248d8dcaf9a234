#if canImport(Glibc)
import CMalloc
#elseif canImport(Darwin)
import Darwin
#endif

/// What this process has asked of malloc and not given back.
enum AllocatedMemory {
    /// Bytes in blocks that are in use, with malloc's own overhead: `mallinfo2` on Glibc (`uordblks` of all arenas, and `hblkhd` for blocks with a
    /// mapping of their own), the default zones' `size_in_use` on Darwin. Reserved address space and freed memory that malloc keeps are not in
    /// it, unlike in a resident set size. Zero where the C library does not say.
    static var byteCount: Int {
        #if canImport(Glibc)
        let information = mallinfo2()
        return Int(information.uordblks) + Int(information.hblkhd)
        #elseif canImport(Darwin)
        var statistics = malloc_statistics_t()
        malloc_zone_statistics(nil, &statistics)
        return Int(statistics.size_in_use)
        #else
        return 0
        #endif
    }
}
