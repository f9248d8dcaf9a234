/// Elements in raw memory whose addresses never change: chunks are added, never moved. Pointers into it stay good while it grows.
///
/// Each element begins a cache line if it is larger than half of one: what is needed together comes in together.
struct Slab<Element> {
    @inline(__always)
    private static var stride: Int { MemoryLayout<Element>.stride > 32 ? (MemoryLayout<Element>.stride + 63) & ~63 : MemoryLayout<Element>.stride }
    private static var shift: Int { 8 }
    private static var chunkSize: Int { 1 << shift }

    private var chunks: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var chunkCapacity = 16
    private var chunkCount = 0
    private(set) var count = 0

    init() { chunks = .allocate(capacity: 16) }

    /// Frees the memory. Elements must be trivial, or deinitialised before.
    func deallocate() {
        for n in 0..<chunkCount { chunks[n].deallocate() }
        chunks.deallocate()
    }

    @inline(__always)
    subscript(index: Int) -> UnsafeMutablePointer<Element> {
        (chunks[index >> Slab.shift] + (index & (Slab.chunkSize - 1)) &* Slab.stride).assumingMemoryBound(to: Element.self)
    }

    /// Room for one more element, uninitialised; returns its index.
    mutating func extend() -> Int {
        if count == chunkCount << Slab.shift {
            if chunkCount == chunkCapacity {
                let larger = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: chunkCapacity * 2)
                larger.moveInitialize(from: chunks, count: chunkCount)
                chunks.deallocate()
                chunks = larger
                chunkCapacity *= 2
            }
            (chunks + chunkCount).initialize(to: .allocate(byteCount: Slab.chunkSize * Slab.stride, alignment: 64))
            chunkCount += 1
        }
        count += 1
        return count - 1
    }
}
