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
    func deliver(_ packet: UnsafeRawBufferPointer, namespace: NamespaceIndex, partialChecksum: Bool) -> LocalDelivery
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
    private let clock: UnsafeMutablePointer<Instant>
    private let interfaces: UnsafeMutablePointer<Interface>
    private let namespaces: UnsafeMutablePointer<Namespace>
    let bridges: UnsafeMutablePointer<ForwardingTable>
    let neighbours: UnsafeMutablePointer<NeighbourTable>
    let backlog: UnsafeMutablePointer<FrameQueue>
    private let cacheState: UnsafeMutablePointer<(warmUntil: Instant, coldStages: Int)>
    private let capacity: (interfaces: Int, bridges: Int, namespaces: Int)
    public private(set) var interfaceCount = 0
    public private(set) var namespaceCount = 0
    private(set) var bridgeCount = 0
    /// What the hot path does not touch.
    private let interfaceNames: UnsafeMutablePointer<InterfaceNames>

    public let costs: SoftirqCosts
    public let seed: UInt64
    /// Owned: it must not own the logical process in turn.
    public let upper: any UpperLayer
    public var tap: (any TapObserver)?
    var outbox = Outbox()
    /// The other of two buffers that take turns.
    var sentOutbox = Outbox()
    var books = FrameBooks()
    private var nextPacketID: UInt64
    private(set) var inSoftirq = false
    private var softirqQueued = false
    /// Events handled, for figures and for the digest.
    public private(set) var eventCount: UInt64 = 0
    private(set) var digestState = Digest()

    /// Softirqs give the processor back after this long (`MAX_SOFTIRQ_TIME`, 2 ms).
    private static let softirqTime = Duration.milliseconds(2)
    /// How many stages find cold caches after a pause, and how long caches stay warm.
    private static let coldStages = 8
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
        clock = .allocate(capacity: 1)
        clock.initialize(to: .zero)
        interfaces = .allocate(capacity: interfaceCapacity + 1)
        namespaces = .allocate(capacity: max(namespaceCapacity, 1))
        bridges = .allocate(capacity: max(capacity.bridges, 1))
        neighbours = .allocate(capacity: 1)
        neighbours.initialize(to: NeighbourTable())
        backlog = .allocate(capacity: 1)
        backlog.initialize(to: FrameQueue())
        cacheState = .allocate(capacity: 1)
        cacheState.initialize(to: (.zero, LogicalProcess.coldStages))
        nextPacketID = UInt64(number) << 48
    }

    deinit {
        for index in 1..<(interfaceCount + 1) { interfaces[index].cable.departures.deallocate() }
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
        clock.deallocate()
        backlog.deallocate()
        cacheState.deallocate()
    }

    // MARK: State

    public var now: Instant { clock.pointee }
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

    func makePacketID() -> UInt64 {
        nextPacketID += 1
        return nextPacketID
    }

    /// The books as they stand; exact between events.
    public var frameBooks: FrameBooks {
        var result = books
        result.inFlight = UInt64(pool.pointee.live)
        return result
    }

    /// Of every event handled so far: two runs that agree in it have done the same things at the same times.
    public var digest: UInt64 { digestState.value }

    // MARK: Time

    /// Charges processor time.
    @inline(__always) func spend(_ nanoseconds: Int64) { clock.pointee += .nanoseconds(nanoseconds) }
    @inline(__always) func spend(_ nanoseconds: Int64, bytes: UInt32) {
        spend(nanoseconds &+ (costs.perKiB &* Int64(bytes)) >> 10)
        let cache = cacheState
        if clock.pointee - cache.pointee.warmUntil > .zero { cache.pointee.coldStages = LogicalProcess.coldStages }
        if cache.pointee.coldStages > 0 {
            cache.pointee.coldStages -= 1
            spend(costs.cold)
        }
        cache.pointee.warmUntil = clock.pointee + LogicalProcess.cacheMemory
    }
    /// Processor time of a process; for the layers above.
    public func compute(_ time: Duration) { clock.pointee += time }

    public var nextEventTime: Instant { backlog.pointee.isEmpty ? queue.pointee.nextTime : now }

    /// Runs every event whose time is at most `limit`, in canonical order, for as long as `proceed` (asked after each) says so.
    public func run(until limit: Instant, while proceed: () -> Bool = { true }) {
        while queue.pointee.nextTime <= limit {
            step()
            if !proceed() { break }
        }
    }

    /// Moves the clock forward over a time without events.
    public func advance(to time: Instant) {
        assert(queue.pointee.nextTime > time || time <= now, "events skipped")
        if clock.pointee < time { clock.pointee = time }
    }

    private func step() {
        let event = queue.pointee.pop()
        // The one processor may still have been busy when the event was due.
        if clock.pointee < event.time { clock.pointee = event.time }
        eventCount &+= 1
        digestState.combine(event.time.nanoseconds)
        digestState.combine(UInt64(event.source.rawValue) << 32 | UInt64(event.note))
        switch EventKind(rawValue: event.source.kind) {
        case .softirq: softirqQueued = false
        case .arrival:
            inSoftirq = true
            cableArrival(InterfaceIndex(event.source.index))
            inSoftirq = false
        case .neighbour:
            inSoftirq = true
            neighbourTimer(event.source.index)
            inSoftirq = false
        case .reassembly:
            inSoftirq = true
            reassemblyTimer(NamespaceIndex(event.source.index))
            inSoftirq = false
        case .stack:
            inSoftirq = true
            stackTimer(NamespaceIndex(event.source.index))
            inSoftirq = false
        case .process: upper.runProcess(event.source.index)
        case nil: preconditionFailure("an event of no known kind")
        }
        // run_timer_softirq works off all timers of a tick before net_rx_action sees what they sent.
        if isTimer(event.source.kind), queue.pointee.nextTime == event.time, isTimer(queue.pointee.nextSource.kind) { return }
        runSoftirqs()
    }

    private func isTimer(_ kind: UInt32) -> Bool { kind >= EventKind.stack.rawValue && kind <= EventKind.reassembly.rawValue }

    /// Works off the backlog, as `do_softirq` does when a system call or an interrupt ends. What is left after 2 ms waits its turn behind
    /// timers and processes.
    public func runSoftirqs() {
        if inSoftirq || backlog.pointee.isEmpty { return }
        inSoftirq = true
        let deadline = now + LogicalProcess.softirqTime
        while !backlog.pointee.isEmpty {
            let frame = backlog.pointee.removeFirst(pool)
            receive(frame, on: pool.pointee[frame].pointee.device)
            if now > deadline { break }
        }
        inSoftirq = false
        if !backlog.pointee.isEmpty, !softirqQueued {
            softirqQueued = true
            queue.pointee.push(now, EventSource(kind: EventKind.softirq.rawValue, index: 0))
        }
    }

    /// Queues a frame at the receiving end of a veth pair or of `lo` (`netif_rx`).
    func enqueueBacklog(_ frame: FrameHandle, on device: InterfaceIndex) {
        if backlog.pointee.count >= LogicalProcess.backlogLimit { return drop(frame, .backlogFull, at: device) }
        pool.pointee[frame].pointee.device = device
        backlog.pointee.append(frame, pool)
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
            queue.pointee.push(max(deadline, now), EventSource(kind: EventKind.stack.rawValue, index: index.rawValue))
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
    func release(_ frame: FrameHandle) {
        let entry = pool.pointee[frame]
        if entry.pointee.connection != 0 {
            namespace(interface(entry.pointee.device).pointee.namespace).pointee.netfilter.release(frame, &pool.pointee)
        }
        pool.pointee.free(frame)
    }

    func deliverFinished(_ frame: FrameHandle) {
        books.delivered += 1
        release(frame)
    }

    func drop(_ frame: FrameHandle, _ reason: DropReason, at device: InterfaceIndex) {
        books.dropped += 1
        books.dropsByReason[Int(reason.rawValue)] += 1
        if !(device == .none) { interface(device).pointee.counters.drops += 1 }
        if let tap {
            tap.dropped(
                pool.pointee[frame].pointee.bytes, TapEvent(time: now, interface: device, direction: .inbound, packetID: pool.pointee[frame].pointee.packetID),
                reason: reason)
        }
        release(frame)
    }

    /// What a packet loses when it enters another namespace (`skb_scrub_packet`).
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
        entry.pointee.flags = []
    }
}
