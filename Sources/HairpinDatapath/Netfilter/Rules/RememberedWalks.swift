import HairpinWire

/// A way through the filter table that ends in ACCEPT and that every packet of one direction of a connection takes again: the tests on it look
/// at nothing that differs between them. Such packets need not be tested again; they are counted here, and by `RuleProgram.saveCounters` at each
/// rule of the walk.
struct RememberedWalk {
    /// The base chain's first rule.
    var start: UInt32
    /// The rules that matched, in the program's list of steps.
    var firstStep: UInt32
    var stepCount: UInt32
    /// The packet's mark at the beginning.
    var mark: UInt32
    /// Where the packets must be, if a rule on the way looks at interfaces.
    var devices: WalkDevices?
    /// Where IPVS sends such packets: the connection's server may become another one. Zero for all others.
    var server: UInt64 = 0
    /// Rules that a walk one after the other looks at (`RuleProgram.walked`).
    var walked: UInt32
    /// Not yet at the rules.
    var packets: UInt64 = 0
    var bytes: UInt64 = 0

    /// Address and port that IPVS has written into a packet.
    @inline(__always)
    static func server(_ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>) -> UInt64 {
        guard frame.pointee.flags.contains(.virtualServer) else { return 0 }
        let header = frame.pointee.data + place.networkOffset
        let portOffset = Int(header.u8(0) & 0xf) &* 4 &+ 2
        return UInt64(header.u32(IPv4Offset.destination)) << 16 | UInt64(header.u16(portOffset))
    }
}

struct WalkDevices: Equatable {
    var input: InterfaceIndex
    var output: InterfaceIndex
    var physicalIn: InterfaceIndex
    var physicalOut: InterfaceIndex

    init(_ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>) {
        input = place.input
        output = place.output
        physicalIn = frame.pointee.physicalIn
        physicalOut = frame.pointee.physicalOut
    }
}

/// The walks a program has seen, in raw memory.
struct RememberedWalks {
    /// Bits of a walk's number where a connection keeps it.
    static let numberBits: UInt64 = 10
    static let mask = 1 << Int(numberBits) - 1
    /// In place of a number: not worth trying again.
    static let never = mask
    static let largestNumber = mask - 1

    private var walks: UnsafeMutablePointer<RememberedWalk>
    private var capacity = 8
    private(set) var count = 0
    /// In an array: read only where counters are.
    private(set) var steps: [UInt32] = []

    init() { walks = .allocate(capacity: 8) }

    mutating func removeAll() {
        count = 0
        steps = []
    }
    func deallocate() { walks.deallocate() }

    /// By number, from one on.
    @inline(__always)
    subscript(number: Int) -> UnsafeMutablePointer<RememberedWalk> { walks + (number - 1) }

    /// The number of a walk like `walk` through `path`, or `never` if there are too many.
    mutating func intern(_ walk: RememberedWalk, _ path: [UInt32]) -> Int {
        for number in stride(from: 1, through: count, by: 1) {
            let known = self[number].pointee
            if known.start == walk.start, known.mark == walk.mark,
                known.server == walk.server, known.devices == walk.devices, known.walked == walk.walked, path.elementsEqual(steps(of: known))
            {
                return number
            }
        }
        guard count < RememberedWalks.largestNumber else { return RememberedWalks.never }
        if count == capacity {
            let larger = UnsafeMutablePointer<RememberedWalk>.allocate(capacity: capacity * 2)
            larger.moveInitialize(from: walks, count: count)
            walks.deallocate()
            walks = larger
            capacity *= 2
        }
        var walk = walk
        walk.firstStep = UInt32(steps.count)
        walk.stepCount = UInt32(path.count)
        steps += path
        (walks + count).initialize(to: walk)
        count += 1
        return count
    }

    func steps(of walk: RememberedWalk) -> ArraySlice<UInt32> { steps[Int(walk.firstStep)..<Int(walk.firstStep + walk.stepCount)] }
}

extension RuleProgram {
    /// Whether a packet of an established connection goes the way its direction went before, in which case it is counted. `start` is the entry of the
    /// filter table at the hook, `length` that of the IP packet.
    @inline(__always)
    mutating func repeats(
        _ start: Int, _ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ connection: UnsafeMutablePointer<Connection>, length: UInt16
    ) -> Bool {
        guard connection.pointee.walkEpoch == walkEpoch else { return false }
        let number = Int(truncatingIfNeeded: connection.pointee.walks &>> RuleProgram.shift(place.hook, frame.pointee.connectionInfo)) & RememberedWalks.mask
        guard number != 0, number != RememberedWalks.never else { return false }
        let walk = walks[number]
        guard walk.pointee.start == UInt32(truncatingIfNeeded: start), walk.pointee.mark == frame.pointee.mark,
            walk.pointee.server == RememberedWalk.server(place, frame)
        else { return false }
        if let devices = walk.pointee.devices, devices != WalkDevices(place, frame) { return false }
        walk.pointee.packets &+= 1
        walk.pointee.bytes &+= UInt64(length)
        walked &+= UInt64(walk.pointee.walked)
        return true
    }

    /// Where a connection keeps the number of its walk at a hook, by direction.
    @inline(__always)
    private static func shift(_ hook: Hook, _ info: ConnectionInfo) -> UInt64 {
        // localIn, forward and localOut, the hooks of the filter table, are 1, 2 and 3.
        assert((1...3).contains(hook.rawValue), "no hook of the filter table")
        return (UInt64(hook.rawValue &- 1) &* 2 &+ (info.isReply ? 1 : 0)) &* RememberedWalks.numberBits
    }

    /// Remembers the walk of a packet the filter table has just accepted, for the others of its direction; `walked` is how many rules it was held against.
    @inline(never)
    mutating func remember<E: NetfilterEnvironment>(
        _ start: Int, _ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders, _ connection: UnsafeMutablePointer<Connection>,
        walked: UInt64, _ env: inout E
    ) {
        let shift = RuleProgram.shift(place.hook, frame.pointee.connectionInfo)
        if connection.pointee.walkEpoch != walkEpoch {
            connection.pointee.walkEpoch = walkEpoch
            connection.pointee.walks = 0
        }
        let known = Int(truncatingIfNeeded: connection.pointee.walks >> shift) & RememberedWalks.mask
        guard known != RememberedWalks.never else { return }
        let number = trace(start, place, frame, packet, connection, walked: UInt32(clamping: walked), &env)
        connection.pointee.walks = connection.pointee.walks & ~(UInt64(RememberedWalks.mask) << shift) | UInt64(number) << shift
    }

    /// Goes the way again, without counting; `RememberedWalks.never` if another packet might go another way.
    private mutating func trace<E: NetfilterEnvironment>(
        _ start: Int, _ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders, _ connection: UnsafeMutablePointer<Connection>,
        walked: UInt32, _ env: inout E
    ) -> Int {
        var path: [UInt32] = []
        var looksAtDevices = false
        var index = start
        var depth = 0
        while true {
            let rule = rules + index
            guard rule.pointee.isFlowInvariant else { return RememberedWalks.never }
            if rule.pointee.looksAtDevices { looksAtDevices = true }
            guard matches(rule, place, frame, packet, connection, &env) else {
                index = Int(rule.pointee.next)
                continue
            }
            path.append(UInt32(index))
            switch rule.pointee.action {
            case .none: index = Int(rule.pointee.next)
            // By destination and port, which are those of the direction.
            case .dispatch(let table): index = dispatch.first(table, packet)
            case .accept, .policy(accept: true):
                let walk = RememberedWalk(
                    start: UInt32(start), firstStep: 0, stepCount: 0, mark: frame.pointee.mark, devices: looksAtDevices ? WalkDevices(place, frame) : nil,
                    server: RememberedWalk.server(place, frame), walked: walked)
                return walks.intern(walk, path)
            case .return where depth > 0:
                depth -= 1
                index = Int(rules[Int(stack[depth])].next)
            case .jump(let target):
                stack[depth] = UInt32(index)
                depth += 1
                index = Int(target)
            default:
                // Whatever changes something, and what is rare.
                return RememberedWalks.never
            }
        }
    }

    /// Adds what walks have counted to the rules on them.
    func settleWalks() {
        for number in stride(from: 1, through: walks.count, by: 1) {
            let walk = walks[number]
            for step in walks.steps(of: walk.pointee) {
                rules[Int(step)].packets &+= walk.pointee.packets
                rules[Int(step)].bytes &+= walk.pointee.bytes
            }
            walk.pointee.packets = 0
            walk.pointee.bytes = 0
        }
    }
}

extension PacketTest {
    /// The answer is the same for every packet of one direction of an established connection with the same mark on the same interfaces.
    var isFlowInvariant: Bool {
        switch self {
        case .transport, .port, .ports, .connectionState, .connectionAddress, .connectionPort, .connectionProtocol, .connectionReply, .mark, .physicalDevice,
            .device, .isPhysicalDevice, .isBridged, .addressRange:
            true
        case .tcpFlags, .icmp, .connectionStatus, .connectionMark, .addressType, .random, .nth, .limit, .recent, .length, .timeToLive, .packetType, .set, .reversePath,
            .universal, .within, .element:
            false
        }
    }

    var looksAtDevices: Bool {
        switch self {
        case .physicalDevice, .device, .isPhysicalDevice, .isBridged: true
        default: false
        }
    }
}
