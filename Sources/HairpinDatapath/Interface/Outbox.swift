import HairpinEngine

/// Frames that left for other logical processes since the last exchange, back to back in one buffer.
public struct Outbox {
    public struct Letter {
        public var offset: Int
        public var count: Int
        public var packetID: UInt64
        public var arrival: Instant
        public var process: Int
        public var interface: InterfaceIndex
    }
    public private(set) var letters: [Letter] = []
    private var storage: [UInt8] = []

    mutating func append(_ bytes: UnsafeRawBufferPointer, packetID: UInt64, arrival: Instant, process: Int, interface: InterfaceIndex) {
        letters.append(Letter(offset: storage.count, count: bytes.count, packetID: packetID, arrival: arrival, process: process, interface: interface))
        storage.append(contentsOf: bytes)
    }
    func withBytes<R>(of letter: Letter, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        storage.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[letter.offset..<letter.offset + letter.count])) }
    }
    mutating func removeAll() {
        letters.removeAll(keepingCapacity: true)
        storage.removeAll(keepingCapacity: true)
    }
}

extension LogicalProcess {
    /// Hands every letter since the last time to `body` and forgets it; the memory is kept for the next ones.
    public func emptyOutbox(_ body: (Outbox.Letter, UnsafeRawBufferPointer) -> Void) {
        swap(&outbox, &sentOutbox)
        for letter in sentOutbox.letters { sentOutbox.withBytes(of: letter) { body(letter, $0) } }
        sentOutbox.removeAll()
    }
}
