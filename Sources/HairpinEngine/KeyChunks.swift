/// Bags of 128-bit keys in chunks of 256 bytes from one pool: 15 keys and a link. Keys are appended to a bag and read all at once.
///
/// A bag is nothing but the address its next key goes to. Chunks are aligned to their size, so an address on a chunk's border says that the
/// last chunk is full, or (zero) that there is none yet; the first slot of a chunk holds the border where the chunk before it ended.
struct KeyChunks: ~Copyable {
    typealias Cursor = UInt
    static var empty: Cursor { 0 }

    private static var chunkBytes: Int { 256 }
    private static var keyBytes: Int { 16 }
    private static var chunksPerSlab: Int { 64 }

    /// The first of the free chunks, which link to each other through their first slots.
    private var free: Cursor = 0
    private var slabs: [UnsafeMutableRawPointer] = []

    init() {}
    deinit { for slab in slabs { slab.deallocate() } }

    /// Whether the next key needs a new chunk.
    @inline(__always) static func isFull(_ bag: Cursor) -> Bool { bag & Cursor(chunkBytes &- 1) == 0 }

    /// Stores a key where the cursor says, which must not be full. Returns the bag with the key in it.
    @inline(__always)
    static func store(_ key: UInt128, at place: Cursor) -> Cursor {
        address(place).storeBytes(of: key, as: UInt128.self)
        return place &+ Cursor(keyBytes)
    }

    /// Gives a bag whose last chunk is full, or that has none, another. Returns where its first key goes.
    mutating func addChunk(after full: Cursor) -> Cursor {
        if free == 0 { addSlab() }
        let chunk = free
        free = KeyChunks.address(chunk).load(as: Cursor.self)
        KeyChunks.address(chunk).storeBytes(of: full, as: Cursor.self)
        return chunk &+ Cursor(KeyChunks.keyBytes)
    }

    /// Gives a bag's chunks back. Its keys must have been read.
    mutating func recycle(_ bag: Cursor) {
        var end = bag
        while end != 0 {
            let chunk = KeyChunks.chunk(endingAt: end)
            let before = KeyChunks.address(chunk).load(as: Cursor.self)
            KeyChunks.address(chunk).storeBytes(of: free, as: Cursor.self)
            free = chunk
            end = before
        }
    }

    /// The keys of the last chunk first; within a chunk in the order they were appended.
    @inline(__always)
    static func forEach(_ bag: Cursor, _ body: (UInt128) -> Void) {
        var end = bag
        while end != 0 {
            let chunk = chunk(endingAt: end)
            var place = chunk &+ Cursor(keyBytes)
            while place != end {
                body(address(place).load(as: UInt128.self))
                place &+= UInt(keyBytes)
            }
            end = address(chunk).load(as: Cursor.self)
        }
    }

    /// How many keys there are; counting ends somewhere above `limit`.
    @inline(__always)
    static func count(_ bag: Cursor, upTo limit: Int) -> Int {
        var end = bag
        var count = 0
        while end != 0, count <= limit {
            let chunk = chunk(endingAt: end)
            count &+= Int(truncatingIfNeeded: end &- chunk) / keyBytes &- 1
            end = address(chunk).load(as: Cursor.self)
        }
        return count
    }

    private mutating func addSlab() {
        // The first slabs are small: most queues hold few events.
        let count = slabs.isEmpty ? 16 : KeyChunks.chunksPerSlab << min(slabs.count, 10)
        let slab = UnsafeMutableRawPointer.allocate(byteCount: count * KeyChunks.chunkBytes, alignment: KeyChunks.chunkBytes)
        slabs.append(slab)
        for n in stride(from: count - 1, through: 0, by: -1) {
            let chunk = slab + n * KeyChunks.chunkBytes
            chunk.storeBytes(of: free, as: Cursor.self)
            free = Cursor(bitPattern: chunk)
        }
    }

    @inline(__always) private static func chunk(endingAt end: Cursor) -> Cursor { (end &- 1) & ~Cursor(chunkBytes &- 1) }
    /// A cursor comes from a pointer into a slab, and is never zero here.
    @inline(__always) private static func address(_ cursor: Cursor) -> UnsafeMutableRawPointer { UnsafeMutableRawPointer(bitPattern: cursor).unsafelyUnwrapped }
}
