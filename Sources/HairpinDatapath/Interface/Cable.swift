import HairpinEngine
import HairpinWire

/// One direction of a cable: serialisation at `rate`, a drop-tail queue in front of it, propagation `delay`, and faults.
///
/// A drop-tail link needs no departure event: the time until which it is busy says when the next frame leaves.
struct Cable {
    /// Bits per second; zero is unlimited.
    var rate: UInt64 = 0
    var delay = Duration.zero
    var queueLimit = 1000
    /// When the last queued frame will have left.
    var busyUntil = Instant.zero
    /// Frames accepted while the cable was busy, and when they leave: what is in the queue at a given time.
    var departures = DepartureRing()
    /// Frames under way to this end, each with an arrival event of its own.
    var arriving = FrameQueue()
    /// The other end when it is in another logical process.
    var remoteProcess: Int32 = -1
    var remoteInterface = InterfaceIndex.none
    /// Probability of loss as a fraction of 2^32.
    var loss: UInt32 = 0
    var isCut = false
    var random = SeededRandom(seed: 0, name: "")

    init() {}
}

/// Departure times of the frames waiting in a drop-tail queue, oldest first.
struct DepartureRing {
    private var times: UnsafeMutablePointer<Instant>?
    private var capacity = 0
    private var head = 0
    private(set) var count = 0

    /// Forgets the frames that have left by `now`.
    mutating func expire(_ now: Instant) {
        guard let times else { return }
        while count > 0, times[head] <= now {
            head = head + 1 == capacity ? 0 : head + 1
            count -= 1
        }
    }

    /// The caller sees to the queue's limit; memory follows what really waits, whatever the limit says.
    mutating func append(_ time: Instant) {
        if count == capacity { grow() }
        let slot = head + count
        times![slot >= capacity ? slot - capacity : slot] = time
        count += 1
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Instant>.allocate(capacity: max(capacity * 2, 64))
        if let times {
            let toEnd = min(count, capacity - head)
            larger.initialize(from: times + head, count: toEnd)
            (larger + toEnd).initialize(from: times, count: count - toEnd)
            times.deallocate()
        }
        times = larger
        capacity = max(capacity * 2, 64)
        head = 0
    }

    func deallocate() { times?.deallocate() }
}

extension LogicalProcess {
    /// Puts a frame on a cable. It arrives, leaves for another logical process, or is dropped.
    func transmitCable(_ frame: FrameHandle, _ device: InterfaceIndex) {
        let cable = interface(device)
        let count = Int(pool.pointee[frame].pointee.count)
        if cable.pointee.cable.isCut { return drop(frame, .interfaceDown, at: device) }
        if cable.pointee.cable.loss != 0, cable.pointee.cable.random.next32() < cable.pointee.cable.loss {
            return drop(frame, .linkLoss, at: device)
        }
        var departure = now
        if cable.pointee.cable.rate > 0 {
            cable.pointee.cable.departures.expire(now)
            if cable.pointee.cable.departures.count >= cable.pointee.cable.queueLimit { return drop(frame, .linkQueueFull, at: device) }
            // Preamble, frame check sequence and inter-frame gap take 24 bytes on a real wire and are left out, as every veth does.
            let (whole, rest) = (UInt64(count) * 8 * 1_000_000_000).quotientAndRemainder(dividingBy: cable.pointee.cable.rate)
            let nanoseconds = Int64(whole + (rest > 0 ? 1 : 0))
            departure = max(now, cable.pointee.cable.busyUntil) + .nanoseconds(nanoseconds)
            cable.pointee.cable.busyUntil = departure
            cable.pointee.cable.departures.append(departure)
        }
        let arrival = departure + cable.pointee.cable.delay
        if cable.pointee.cable.remoteProcess >= 0 {
            outbox.append(
                pool.pointee[frame].pointee.bytes, packetID: pool.pointee[frame].pointee.packetID, arrival: arrival,
                process: Int(cable.pointee.cable.remoteProcess), interface: cable.pointee.cable.remoteInterface)
            books.handedOver += 1
            release(frame)
            return
        }
        let peer = cable.pointee.peer
        scrub(frame)
        interface(peer).pointee.cable.arriving.append(frame, pool)
        queue.pointee.push(arrival, EventSource(kind: EventKind.arrival.rawValue, index: peer.rawValue))
    }

    /// The event of one frame's arrival at the end of a cable.
    func cableArrival(_ device: InterfaceIndex) {
        let frame = interface(device).pointee.cable.arriving.removeFirst(pool)
        receive(frame, on: device)
    }

    /// Takes a frame that another logical process sent over a cable.
    public func inject(_ bytes: UnsafeRawBufferPointer, packetID: UInt64, arrival: Instant, interface device: InterfaceIndex) {
        let frame = pool.pointee.allocate(bytes.count)
        pool.pointee[frame].pointee.data.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
        pool.pointee[frame].pointee.packetID = packetID
        books.emitted += 1
        interface(device).pointee.cable.arriving.append(frame, pool)
        queue.pointee.push(max(arrival, now), EventSource(kind: EventKind.arrival.rawValue, index: device.rawValue))
    }
}
