import HairpinEngine

/// Frames on their way from one logical process to one other.
///
/// There are two buffers: while the sender fills one, the receiver empties the other, so both may run at the same time. `turn` exchanges them when
/// neither does. Nothing is allocated in the steady state.
public final class Outbox {
    /// The number of the logical process that receives.
    public let destination: Int
    /// Filled by the sender alone; on lines of the cache that the receiver does not touch.
    let filling: UnsafeMutablePointer<LetterBuffer>
    /// Emptied by the receiver alone.
    let sealed: UnsafeMutablePointer<LetterBuffer>

    /// A line of 64 bytes, and the one its neighbour prefetches.
    private static let line = 128

    init(to destination: Int) {
        self.destination = destination
        func make() -> UnsafeMutablePointer<LetterBuffer> {
            precondition(MemoryLayout<LetterBuffer>.size <= Outbox.line)
            let buffer = UnsafeMutableRawPointer.allocate(byteCount: Outbox.line, alignment: Outbox.line).bindMemory(to: LetterBuffer.self, capacity: 1)
            buffer.initialize(to: LetterBuffer())
            return buffer
        }
        filling = make()
        sealed = make()
    }

    deinit {
        filling.pointee.deallocate()
        sealed.pointee.deallocate()
        filling.deallocate()
        sealed.deallocate()
    }

    /// Lets the receiver have what the sender has put in since the last time. The receiver must have taken what was there before, and neither
    /// may be running. Returns when the first of it arrives; `.distantFuture` if there is nothing.
    public func turn() -> Instant {
        assert(sealed.pointee.isEmpty, "letters that nobody has taken")
        if filling.pointee.isEmpty { return .distantFuture }
        swap(&filling.pointee, &sealed.pointee)
        return sealed.pointee.earliest
    }

    /// Whether the receiver has something to take.
    public var hasLetters: Bool { !sealed.pointee.isEmpty }
}

/// Frames back to back in memory that is kept.
struct LetterBuffer {
    struct Letter {
        var arrival: Instant
        var packetID: UInt64
        /// At the receiver.
        var interface: InterfaceIndex
        var byteCount: UInt32
    }
    private var base: UnsafeMutableRawPointer?
    private var capacity = 0
    private var end = 0
    /// When the first of the frames arrives.
    private(set) var earliest = Instant.distantFuture

    private static var header: Int { MemoryLayout<Letter>.stride }

    var isEmpty: Bool { end == 0 }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer, packetID: UInt64, arrival: Instant, interface: InterfaceIndex) {
        // Letters start where their numbers are aligned.
        let size = LetterBuffer.header &+ (bytes.count &+ 7) & ~7
        if size > capacity &- end { grow(size) }
        let letter = base.unsafelyUnwrapped + end
        letter.storeBytes(
            of: Letter(arrival: arrival, packetID: packetID, interface: interface, byteCount: UInt32(truncatingIfNeeded: bytes.count)), as: Letter.self)
        if let source = bytes.baseAddress { (letter + LetterBuffer.header).copyMemory(from: source, byteCount: bytes.count) }
        end &+= size
        earliest = min(earliest, arrival)
    }

    @inline(never)
    private mutating func grow(_ size: Int) {
        capacity = max(capacity * 2, end + size, 4096)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
        if let base {
            larger.copyMemory(from: base, byteCount: end)
            base.deallocate()
        }
        base = larger
    }

    /// Gives every letter to `body`, in the order in which they were put in, and forgets them.
    @inline(__always)
    mutating func drain(_ body: (Letter, UnsafeRawBufferPointer) -> Void) {
        var at = 0
        while at < end {
            let place = UnsafeRawPointer(base.unsafelyUnwrapped) + at
            let letter = place.load(as: Letter.self)
            body(letter, UnsafeRawBufferPointer(start: place + LetterBuffer.header, count: Int(letter.byteCount)))
            at &+= LetterBuffer.header &+ (Int(letter.byteCount) &+ 7) & ~7
        }
        end = 0
        earliest = .distantFuture
    }

    func deallocate() { base?.deallocate() }
}

extension LogicalProcess {
    /// The outbox for what goes to another logical process; made when it is first asked for.
    func outbox(to destination: Int) -> Outbox {
        if let known = outboxes.first(where: { $0.destination == destination }) { return known }
        let new = Outbox(to: destination)
        outboxes.append(new)
        return new
    }

    /// Takes what has been sent over cables that end here. The sender may be running.
    public func receive(from outbox: Outbox) {
        assert(outbox.destination == number, "letters for somebody else")
        outbox.sealed.pointee.drain { letter, bytes in inject(bytes, packetID: letter.packetID, arrival: letter.arrival, interface: letter.interface) }
    }
}
