#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Pieces of memory for captures in memory. Those given back are taken again before new ones are made: that the system gives out a page when it is first
/// written to costs more than the writing. One thread at a time uses it.
public final class CaptureMemory {
    public static let pieceSize = 1 << 21
    private var free: [UnsafeMutableRawPointer] = []

    public init() {}
    deinit { for piece in free { piece.deallocate() } }

    /// A piece of `pieceSize` bytes, whatever they are.
    func take() -> UnsafeMutableRawPointer {
        if let piece = free.popLast() { return piece }
        let piece = UnsafeMutableRawPointer.allocate(byteCount: CaptureMemory.pieceSize, alignment: CaptureMemory.pieceSize)
        #if os(Linux)
            // In large pages where the system has them; a hint, which may be refused.
            _ = madvise(piece, CaptureMemory.pieceSize, MADV_HUGEPAGE)
        #endif
        return piece
    }

    func give(back piece: UnsafeMutableRawPointer) { free.append(piece) }
}
