import HairpinEngine
import HairpinWire

/// One direction of a cable: serialisation at `rate`, a drop-tail queue in front of it, propagation `delay`, and faults.
///
/// A drop-tail link needs no departure event: the time until which it is busy says when the next frame leaves.
struct Cable {
    /// Bits per second; zero is unlimited.
    var rate: UInt64 = 0 {
        didSet {
            serialised = (0, 0)
            setShortQueue()
        }
    }
    var delay = Duration.zero
    var queueLimit = 1000 {
        didSet { setShortQueue() }
    }
    /// When the last queued frame will have left.
    var busyUntil = Instant.zero
    /// How long the last frame took, and its size: most frames are as long as the one before, and a division costs as much as the rest.
    private var serialised: (byteCount: UInt32, nanoseconds: UInt64) = (0, 0)
    /// While it is busy for no longer than this, its queue cannot be full, however short the frames in it are.
    private(set) var shortQueue: UInt64 = 0
    /// Probability of loss as a fraction of 2^32.
    private(set) var loss: UInt32 = 0
    private(set) var isCut = false
    /// Whether it is cut or loses frames.
    private(set) var hasFault = false
    /// Where frames go when the other end is in another logical process; nil when it is in this one. The logical process owns it.
    var outbox: UnsafeMutablePointer<LetterBuffer>?
    var remoteInterface = InterfaceIndex.none
    /// Frames accepted while the cable was busy, and when they leave: what is in the queue at a given time.
    var departures = DepartureRing()
    var random: SeededRandom

    init(random: SeededRandom) { self.random = random }

    mutating func setFault(loss: UInt32, isCut: Bool) {
        (self.loss, self.isCut, hasFault) = (loss, isCut, isCut || loss != 0)
    }

    /// How long the cable is busy with a frame in nanoseconds, rounded up. Preamble, frame check sequence and inter-frame gap take 24 bytes on a real wire and
    /// are left out, as every veth does. The rate must not be zero.
    @inline(__always)
    mutating func serialisationTime(_ byteCount: UInt32) -> UInt64 {
        if serialised.byteCount != byteCount { divide(byteCount) }
        return serialised.nanoseconds
    }

    private mutating func setShortQueue() {
        let (time, overflow) = UInt64(max(queueLimit - 1, 0)).multipliedReportingOverflow(by: 8_000_000_000)
        shortQueue = overflow || rate == 0 ? 0 : time / rate
    }

    @inline(never)
    private mutating func divide(_ byteCount: UInt32) {
        let (whole, rest) = (UInt64(byteCount) * 8 * 1_000_000_000).quotientAndRemainder(dividingBy: rate)
        serialised = (byteCount, whole + (rest > 0 ? 1 : 0))
    }
}

/// Departure times of the frames in a drop-tail queue, oldest first, in a ring whose size is a power of two. Those of frames that have left stay
/// until somebody counts or room is needed.
struct DepartureRing {
    private var times: UnsafeMutablePointer<Instant>?
    private var mask = -1
    private var head = 0
    private var count = 0

    /// Frames that have not left by `now`.
    mutating func waiting(_ now: Instant) -> Int {
        guard let times, count > 0 else { return 0 }
        if times[(head &+ count &- 1) & mask] <= now {
            count = 0
            return 0
        }
        while count > 0, times[head & mask] <= now {
            head &+= 1
            count &-= 1
        }
        return count
    }

    /// The caller sees to the queue's limit; memory follows what really waits, whatever the limit says. When the cable is idle, busy until a time that has
    /// passed, all before have left: one that is not always busy stays at the beginning of its ring, in one cache line.
    @inline(__always)
    mutating func append(_ time: Instant, now: Instant, busyUntil: Instant) {
        // All bits of the sign: chosen without a branch, which nobody could predict.
        count &= Int(truncatingIfNeeded: Int64(bitPattern: now.nanoseconds &- busyUntil.nanoseconds) &>> 63)
        if count > mask { makeRoom(now) }
        times.unsafelyUnwrapped[(head &+ count) & mask] = time
        count &+= 1
    }

    @inline(never)
    private mutating func makeRoom(_ now: Instant) {
        let waiting = waiting(now)
        // At least half is free afterwards: this is not done often.
        if times != nil, waiting * 2 <= mask { return }
        let capacity = max((mask + 1) * 2, 32)
        let larger = UnsafeMutablePointer<Instant>.allocate(capacity: capacity)
        if let times {
            for n in 0..<count { (larger + n).initialize(to: times[(head &+ n) & mask]) }
            times.deallocate()
        }
        times = larger
        mask = capacity - 1
        head = 0
    }

    func deallocate() { times?.deallocate() }
}

extension LogicalProcess {
    /// Puts a frame on a cable. It arrives, leaves for another logical process, or is dropped.
    @inline(__always)
    func transmitCable(_ frame: FrameHandle, _ device: InterfaceIndex) {
        let out = interface(device)
        guard let cable = out.pointee.cable else { preconditionFailure("an interface of kind cable has one") }
        if cable.pointee.hasFault, loseOnCable(frame, device, cable) { return }
        let now = now
        var departure = now
        if cable.pointee.rate > 0 {
            let busyUntil = cable.pointee.busyUntil
            departure = max(now, busyUntil)
            if departure.nanoseconds &- now.nanoseconds > cable.pointee.shortQueue, cable.pointee.departures.waiting(now) >= cable.pointee.queueLimit {
                return drop(frame, .linkQueueFull, at: device)
            }
            departure = Instant(nanoseconds: departure.nanoseconds &+ cable.pointee.serialisationTime(frame.frame.pointee.count))
            cable.pointee.busyUntil = departure
            cable.pointee.departures.append(departure, now: now, busyUntil: busyUntil)
            if frame.frame.pointee.socket != 0 { self.departure.pointee = departure.nanoseconds }
        }
        let arrival = Instant(nanoseconds: departure.nanoseconds &+ UInt64(bitPattern: cable.pointee.delay.nanoseconds))
        if let outbox = cable.pointee.outbox { return handOver(frame, outbox, cable.pointee.remoteInterface, arrival: arrival) }
        let peer = out.pointee.peer
        scrub(frame)
        interface(peer).pointee.arriving.append(frame)
        queue.pointee.pushInline(EventKey(arrival, EventSource(kind: EventKind.arrival.rawValue, index: peer.rawValue), note: 0))
    }

    /// Whether a fault takes the frame; it is dropped then.
    @inline(never)
    private func loseOnCable(_ frame: FrameHandle, _ device: InterfaceIndex, _ cable: UnsafeMutablePointer<Cable>) -> Bool {
        if cable.pointee.isCut {
            drop(frame, .interfaceDown, at: device)
            return true
        }
        guard cable.pointee.random.next32() < cable.pointee.loss else { return false }
        drop(frame, .linkLoss, at: device)
        return true
    }

    @inline(never)
    private func handOver(_ frame: FrameHandle, _ outbox: UnsafeMutablePointer<LetterBuffer>, _ remote: InterfaceIndex, arrival: Instant) {
        outbox.pointee.append(frame.frame.pointee.bytes, packetID: frame.frame.pointee.packetID, arrival: arrival, interface: remote)
        books.handedOver += 1
        release(frame)
    }

    /// The event of one frame's arrival at the end of a cable.
    @inline(__always)
    func cableArrival(_ device: InterfaceIndex) {
        let frame = interface(device).pointee.arriving.removeFirst()
        receiveInline(frame, on: device)
    }

    /// Takes a frame that another logical process sent over a cable.
    public func inject(_ bytes: UnsafeRawBufferPointer, packetID: UInt64, arrival: Instant, interface device: InterfaceIndex) {
        let frame = pool.pointee.allocate(bytes.count)
        pool.pointee[frame].pointee.data.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
        pool.pointee[frame].pointee.packetID = packetID
        books.emitted += 1
        interface(device).pointee.arriving.append(frame)
        queue.pointee.push(max(arrival, now), EventSource(kind: EventKind.arrival.rawValue, index: device.rawValue))
    }
}
