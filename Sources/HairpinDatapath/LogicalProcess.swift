import HairpinEngine
import HairpinWire

/// The kinds of event in a logical process's queue; the number is part of the canonical order.
enum EventKind: UInt32 {
    /// Softirq work left over when its time was up (`ksoftirqd`).
    case softirq = 0
    /// A frame at the end of a cable.
    case arrival = 1
    /// A namespace's transport stack. Before the neighbours': a SYN whose ARP fails in the same tick is still held when its own timer fires.
    case stack = 2
    /// A neighbour entry's timer.
    case neighbour = 3
    /// A reassembly queue's oldest packet.
    case reassembly = 4
    /// A process becomes runnable.
    case process = 5
    /// A packet generator sends its next frame.
    case generator = 6
}

/// Virtual time that the stages of a frame's path take on the one processor of a logical process, in nanoseconds. All may be zero.
///
/// The defaults make bulk TCP between two pods of a node about 4 Gbit/s, as the kernel does without segmentation offload.
public struct SoftirqCosts: Sendable, Equatable {
    /// Building and sending one packet: transport, IP, neighbour, driver.
    public var transmit: Int64 = 500
    /// One frame taken from a backlog, up to the protocol or the bridge.
    public var receive: Int64 = 400
    /// A bridge's decision and its netfilter hooks.
    public var bridge: Int64 = 350
    /// Routing a packet that came in.
    public var route: Int64 = 250
    /// Transport input.
    public var deliver: Int64 = 500
    /// Per KiB that passes one of these stages.
    public var perKiB: Int64 = 60
    /// On top of each of the first stages after the processor was idle: caches are cold then. It makes a lone ping take tens of microseconds
    /// where a stream's packets take two each.
    public var cold: Int64 = 3_000
    /// From the interrupt that wakes a process to its first instruction.
    public var wakeUp: Int64 = 4_000
    public init() {}
    public static var zero: SoftirqCosts {
        var costs = SoftirqCosts()
        (costs.transmit, costs.receive, costs.bridge, costs.route, costs.deliver, costs.perKiB, costs.cold, costs.wakeUp) = (0, 0, 0, 0, 0, 0, 0, 0)
        return costs
    }
}

/// What became of a packet that the datapath handed to the transport protocols.
public enum LocalDelivery: Sendable {
    case delivered
    case dropped(DropReason)
    /// No UDP socket: the datapath answers with port unreachable (RFC 1122 §4.1.3.1).
    case portUnreachable
    /// No such protocol: protocol unreachable (RFC 1122 §3.2.2.1).
    case protocolUnreachable
}

/// The layers above IP, one object for all namespaces of a logical process. Called from softirq context: it must not block, and may call `send`.
public protocol UpperLayer: AnyObject {
    /// A whole IPv4 packet for a namespace, header included, after LOCAL_IN. With `checksumVerified` the checksum of its transport header is known to be
    /// right, or deliberately unfinished; with `cutFromBurst` it is one of the segments its sender built as one packet.
    func deliver(_ packet: UnsafeRawBufferPointer, namespace: NamespaceIndex, checksumVerified: Bool, cutFromBurst: Bool) -> LocalDelivery
    /// An ICMP error for something this namespace sent; `quote` starts at the quoted IP header.
    func receiveError(type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address, quote: UnsafeRawBufferPointer, namespace: NamespaceIndex)
    func stackTimer(namespace: NamespaceIndex)
    func runProcess(_ index: UInt32)
    /// An ARP frame came in (for packet sockets).
    func sawARP(_ frame: UnsafeRawBufferPointer, interface: InterfaceIndex)
}

/// A Kubernetes node with its pods (or a switch, or an outside machine): everything inside it happens in sequence on one virtual processor.
///
/// Between logical processes frames travel only over cables whose delay is greater than zero. State lives in raw memory behind `let` pointers:
/// the hot path pays for no reference counting and no exclusivity checks.
public final class LogicalProcess {
    public let number: Int
    let pool: UnsafeMutablePointer<FramePool>
    let queue: UnsafeMutablePointer<EventQueue>
    let state: UnsafeMutablePointer<ProcessState>
    /// When the last frame of a socket that met a cable will have left it, in ns: for the socket, which clears it before it sends.
    public let departure: UnsafeMutablePointer<UInt64>
    private let interfaces: UnsafeMutablePointer<Interface>
    private let namespaces: UnsafeMutablePointer<Namespace>
    let bridges: UnsafeMutablePointer<ForwardingTable>
    let neighbours: UnsafeMutablePointer<NeighbourTable>
    let backlog: UnsafeMutablePointer<FrameQueue>
    private let capacity: (interfaces: Int, bridges: Int, namespaces: Int)
    public private(set) var interfaceCount = 0
    public private(set) var namespaceCount = 0
    private(set) var bridgeCount = 0
    /// What the hot path does not touch.
    private let interfaceNames: UnsafeMutablePointer<InterfaceNames>

    public let costs: SoftirqCosts
    /// Whether stages take any time at all.
    private let isCharged: Bool
    public let seed: UInt64
    /// Owned: it must not own the logical process in turn.
    public let upper: any UpperLayer
    /// Who looks at frames on tapped interfaces, and at those that end.
    public var tap: (any TapObserver)? {
        didSet {
            state.pointee.tap = tap
            state.pointee.log = tap?.log
        }
    }
    /// One for each logical process that a cable leads to, in the order in which the cables were laid.
    public internal(set) var outboxes: [Outbox] = []
    let generators: UnsafeMutablePointer<Slab<PacketGenerator>>
    /// What generators point into.
    var generatorTables: [AnyObject] = []

    /// Softirqs give the processor back after this long (`MAX_SOFTIRQ_TIME`, 2 ms).
    private static let softirqTime = Duration.milliseconds(2)
    /// How many stages find cold caches after a pause, and how long caches stay warm.
    static let coldStages = 8
    private static let cacheMemory = Duration.milliseconds(1)
    /// Frames in the backlog at most. Linux's `net.core.netdev_max_backlog` is 1000, which one TCP sender does not reach because small queues
    /// (`tcp_small_queue_check`) hold it back; without them the limit has to be above the largest window.
    static let backlogLimit = 16_384

    /// Room for so many interfaces and namespaces and no more, and for so many bridges among the interfaces.
    public init(
        number: Int, interfaceCapacity: Int, bridgeCapacity: Int? = nil, namespaceCapacity: Int, seed: UInt64, costs: SoftirqCosts, upper: any UpperLayer
    ) {
        self.number = number
        self.seed = seed
        self.costs = costs
        self.upper = upper
        capacity = (interfaceCapacity + 1, bridgeCapacity ?? interfaceCapacity, namespaceCapacity)
        interfaceNames = .allocate(capacity: 1)
        interfaceNames.initialize(to: InterfaceNames(capacity: interfaceCapacity))
        pool = .allocate(capacity: 1)
        pool.initialize(to: FramePool())
        queue = .allocate(capacity: 1)
        queue.initialize(to: EventQueue())
        state = .allocate(capacity: 1)
        state.initialize(to: ProcessState(firstPacketID: UInt64(number) << 48))
        departure = .allocate(capacity: 1)
        departure.initialize(to: 0)
        isCharged = costs != .zero
        generators = .allocate(capacity: 1)
        generators.initialize(to: Slab())
        interfaces = .allocate(capacity: interfaceCapacity + 1)
        namespaces = .allocate(capacity: max(namespaceCapacity, 1))
        bridges = .allocate(capacity: max(capacity.bridges, 1))
        neighbours = .allocate(capacity: 1)
        neighbours.initialize(to: NeighbourTable())
        backlog = .allocate(capacity: 1)
        backlog.initialize(to: FrameQueue())
    }

    deinit {
        for index in 1..<(interfaceCount + 1) { interfaces[index].deallocate() }
        for number in 0..<generators.pointee.count { generators.pointee[number].pointee.deallocate() }
        generators.pointee.deallocate()
        generators.deallocate()
        for index in 0..<bridgeCount { bridges[index].deallocate() }
        for index in 0..<namespaceCount { namespaces[index].deallocate() }
        (interfaces + 1).deinitialize(count: interfaceCount)
        namespaces.deinitialize(count: namespaceCount)
        interfaceNames.deinitialize(count: 1)
        interfaceNames.deallocate()
        interfaces.deallocate()
        namespaces.deallocate()
        bridges.deallocate()
        neighbours.pointee.deallocate()
        neighbours.deallocate()
        pool.pointee.deallocate()
        pool.deallocate()
        queue.deinitialize(count: 1)
        queue.deallocate()
        state.pointee.deallocate()
        state.deinitialize(count: 1)
        state.deallocate()
        departure.deallocate()
        backlog.deallocate()
    }

    // MARK: State

    public var now: Instant {
        @inline(__always) get { state.pointee.clock }
    }
    /// Events handled, for figures and for the digest.
    public var eventCount: UInt64 { state.pointee.eventCount }
    var books: FrameCounts {
        @inline(__always) get { state.pointee.books }
        @inline(__always) _modify { yield &state.pointee.books }
    }
    @inline(__always) func interface(_ index: InterfaceIndex) -> UnsafeMutablePointer<Interface> { interfaces + Int(index.rawValue) }
    @inline(__always) func namespace(_ index: NamespaceIndex) -> UnsafeMutablePointer<Namespace> { namespaces + Int(index.rawValue) }
    public func interfaceName(_ index: InterfaceIndex) -> String { interfaceNames.pointee[index] }

    /// The interface of a namespace that is called `name`.
    public func findInterface(_ name: String, namespace index: NamespaceIndex) -> InterfaceIndex? {
        interfaceNames.pointee.find(name, namespace: index) { interface($0).pointee.namespace == index }
    }

    func addNamespace(_ namespace: Namespace) -> NamespaceIndex {
        precondition(namespaceCount < capacity.namespaces, "more namespaces than announced")
        (namespaces + namespaceCount).initialize(to: namespace)
        namespaceCount += 1
        return NamespaceIndex(UInt32(namespaceCount - 1))
    }

    func addInterface(_ interface: Interface, name: String) -> InterfaceIndex {
        precondition(interfaceCount + 1 < capacity.interfaces, "more interfaces than announced")
        interfaceCount += 1
        (interfaces + interfaceCount).initialize(to: interface)
        interfaceNames.pointee.append(name, namespace: interface.namespace)
        return InterfaceIndex(UInt32(interfaceCount))
    }

    func addBridge(ageing: Duration) -> UInt32 {
        precondition(bridgeCount < capacity.bridges, "more bridges than announced")
        (bridges + bridgeCount).initialize(to: ForwardingTable(ageing: ageing))
        bridgeCount += 1
        return UInt32(bridgeCount - 1)
    }

    @inline(__always)
    func makePacketID() -> UInt64 {
        state.pointee.nextPacketID &+= 1
        return state.pointee.nextPacketID
    }

    /// The books as they stand; exact between events.
    public var frameBooks: FrameBooks { state.pointee.frameBooks(inFlight: pool.pointee.live) }

    /// Of every event handled so far: two runs that agree in it have done the same things at the same times.
    public var digest: UInt64 { state.pointee.digest.value }

    // MARK: Time

    /// Charges processor time.
    @inline(__always) func spend(_ nanoseconds: Int64) { state.pointee.clock += .nanoseconds(nanoseconds) }
    @inline(__always) func spend(_ nanoseconds: Int64, bytes: UInt32) {
        if isCharged { charge(nanoseconds, bytes: bytes) }
    }
    private func charge(_ nanoseconds: Int64, bytes: UInt32) {
        spend(nanoseconds &+ (costs.perKiB &* Int64(bytes)) >> 10)
        if now - state.pointee.warmUntil > .zero { state.pointee.coldStages = LogicalProcess.coldStages }
        if state.pointee.coldStages > 0 {
            state.pointee.coldStages -= 1
            spend(costs.cold)
        }
        state.pointee.warmUntil = now + LogicalProcess.cacheMemory
    }
    /// Processor time of a process; for the layers above.
    public func compute(_ time: Duration) { state.pointee.clock += time }

    public var nextEventTime: Instant { backlog.pointee.isEmpty ? queue.pointee.nextTime : now }

    /// Runs every event whose time is at most `limit`, in canonical order.
    public func run(until limit: Instant) {
        while step(through: limit) {}
    }

    /// Runs every event whose time is at most `limit`, in canonical order, for as long as `proceed` (asked after each) says so.
    public func run(until limit: Instant, while proceed: () -> Bool) {
        while step(through: limit), proceed() {}
    }

    /// Moves the clock forward over a time without events.
    public func advance(to time: Instant) {
        assert(queue.pointee.nextTime > time || time <= now, "events skipped")
        if now < time { state.pointee.clock = time }
    }

    /// Handles the next event if it is due by `limit`; false if none is.
    @inline(__always)
    private func step(through limit: Instant) -> Bool {
        guard let event = queue.pointee.pop(through: limit) else { return false }
        let state = state
        // The one processor may still have been busy when the event was due.
        if state.pointee.clock < event.time { state.pointee.clock = event.time }
        state.pointee.eventCount &+= 1
        state.pointee.digest.combine(event.time.nanoseconds, event.tieBreaker)
        if event.source.kind == EventKind.arrival.rawValue {
            state.pointee.inSoftirq = true
            cableArrival(InterfaceIndex(event.source.index))
            state.pointee.inSoftirq = false
        } else if event.source.kind == EventKind.generator.rawValue {
            generate(event.source.index)
        } else {
            handle(event)
            // run_timer_softirq works off all timers of a tick before net_rx_action sees what they sent.
            if isTimer(event), queue.pointee.continues(at: event.time, where: isTimer) { return true }
        }
        if !backlog.pointee.isEmpty { runSoftirqs() }
        return true
    }

    @inline(never)
    private func handle(_ event: EventKey) {
        state.pointee.inSoftirq = isTimer(event)
        switch EventKind(rawValue: event.source.kind) {
        case .softirq: state.pointee.softirqQueued = false
        case .neighbour: neighbourTimer(event.source.index)
        case .reassembly: reassemblyTimer(NamespaceIndex(event.source.index))
        case .stack: stackTimer(NamespaceIndex(event.source.index))
        case .process: upper.runProcess(event.source.index)
        case .arrival, .generator, nil: preconditionFailure("an event of no kind that is handled here")
        }
        state.pointee.inSoftirq = false
    }

    @inline(__always)
    private func isTimer(_ event: EventKey) -> Bool { event.source.kind >= EventKind.stack.rawValue && event.source.kind <= EventKind.reassembly.rawValue }

    /// Works off the backlog, as `do_softirq` does when a system call or an interrupt ends. What is left after 2 ms waits its turn behind
    /// timers and processes.
    public func runSoftirqs() {
        if state.pointee.inSoftirq || backlog.pointee.isEmpty { return }
        state.pointee.inSoftirq = true
        let deadline = now + LogicalProcess.softirqTime
        while !backlog.pointee.isEmpty {
            let frame = backlog.pointee.removeFirst()
            state.pointee.backlogCount &-= 1
            receive(frame, on: pool.pointee[frame].pointee.device)
            if now > deadline { break }
        }
        state.pointee.inSoftirq = false
        if !backlog.pointee.isEmpty, !state.pointee.softirqQueued {
            state.pointee.softirqQueued = true
            queue.pointee.push(now, EventSource(kind: EventKind.softirq.rawValue, index: 0))
        }
    }

    /// Queues a frame at the receiving end of a veth pair or of `lo` (`netif_rx`).
    func enqueueBacklog(_ frame: FrameHandle, on device: InterfaceIndex) {
        if state.pointee.backlogCount >= LogicalProcess.backlogLimit { return drop(frame, .backlogFull, at: device) }
        pool.pointee[frame].pointee.device = device
        state.pointee.backlogCount &+= 1
        backlog.pointee.append(frame)
    }

    // MARK: Timers and processes

    /// Wakes a process of the upper layer at `time`.
    public func scheduleProcess(_ index: UInt32, at time: Instant, note: UInt32 = 0) {
        queue.pointee.push(max(time, now), EventSource(kind: EventKind.process.rawValue, index: index), note: note)
    }

    /// Arms a namespace's stack timer. One entry is in the queue per namespace at most: it re-arms itself when it fires early.
    public func armStack(_ index: NamespaceIndex, at deadline: Instant) {
        let space = namespace(index)
        space.pointee.stackDeadline = deadline
        if deadline < space.pointee.stackQueued {
            space.pointee.stackQueued = deadline
            queue.pointee.pushInline(EventKey(max(deadline, now), EventSource(kind: EventKind.stack.rawValue, index: index.rawValue), note: 0))
        }
    }

    private func stackTimer(_ index: NamespaceIndex) {
        let space = namespace(index)
        if space.pointee.stackQueued > now { return }  // superseded by an earlier arming that has fired since
        space.pointee.stackQueued = .distantFuture
        if space.pointee.stackDeadline > now {
            armStack(index, at: space.pointee.stackDeadline)
            return
        }
        space.pointee.stackDeadline = .distantFuture
        upper.stackTimer(namespace: index)
    }

    // MARK: The end of a frame

    /// Ends a frame's life without counting it: the caller has.
    @inline(__always)
    func release(_ frame: FrameHandle) {
        let entry = pool.pointee[frame]
        if entry.pointee.connection != 0 {
            namespace(interface(entry.pointee.device).pointee.namespace).pointee.netfilter.release(frame, &pool.pointee)
        }
        pool.pointee.free(frame)
    }

    @inline(__always)
    func deliverFinished(_ frame: FrameHandle) {
        books.delivered &+= 1
        release(frame)
    }

    @inline(never)
    func drop(_ frame: FrameHandle, _ reason: DropReason, at device: InterfaceIndex) {
        state.pointee.countDrop(reason)
        if device != .none { interface(device).pointee.counters.drops += 1 }
        if let tap = state.pointee.tap {
            tap.dropped(
                pool.pointee[frame].pointee.bytes, TapEvent(time: now, interface: device, direction: .inbound, packetID: pool.pointee[frame].pointee.packetID),
                reason: reason)
        }
        release(frame)
    }

    /// What a packet loses when it enters another namespace (`skb_scrub_packet`).
    @inline(__always)
    func scrub(_ frame: FrameHandle) {
        let entry = pool.pointee[frame]
        if entry.pointee.connection != 0 {
            namespace(interface(entry.pointee.device).pointee.namespace).pointee.netfilter.release(frame, &pool.pointee)
            entry.pointee.connection = 0
        }
        entry.pointee.connectionInfo = .none
        entry.pointee.mark = 0
        entry.pointee.socket = 0
        entry.pointee.physicalIn = .none
        entry.pointee.physicalOut = .none
        entry.pointee.largestFragment = 0
        entry.pointee.flags.formIntersection([.checksumsFinished, .cutFromBurst])
    }
}
