import HairpinPolicy
import HairpinWire

/// The network policies a node enforces for its own pods: where the filter table stands at FORWARD, and at LOCAL_OUT for what IPVS took from LOCAL_IN
/// and rewrote. Destinations have been translated there and sources have not, so policies see the pods themselves.
///
/// A connection is judged by its first packet and remembers under which table (`Connection.policyEpoch`); its other packets, replies included, pass
/// on that one comparison. With a new table every connection is judged again at its next packet: one that is no longer allowed stops in both
/// directions. It is judged as it began, so a reply needs no rule of its own.
struct PolicyFilter {
    private(set) var table = PolicyTable()
    private(set) var style = PolicyStyle.drop
    /// Of the table; 0 is no table, so that a fresh connection agrees with none.
    private(set) var epoch: UInt32 = 0
    private var refused: [Refusal: UInt64] = [:]

    private struct Refusal: Hashable {
        var direction: PolicyDirection
        var policies: String
        var pod: String
    }

    mutating func set(_ table: PolicyTable, style: PolicyStyle) {
        self.table = table
        self.style = style
        epoch &+= 1
        if epoch == 0 { epoch = 1 }
    }

    /// In the order of direction, policies and pod.
    var drops: [PolicyDropCount] {
        refused.map { PolicyDropCount(direction: $0.direction, policies: $0.policies, pod: $0.pod, packets: $1) }
            .sorted { ($0.direction.rawValue, $0.policies, $0.pod) < ($1.direction.rawValue, $1.policies, $1.pod) }
    }

    /// Nil if the flow may pass.
    mutating func refuse(_ flow: PolicyFlow) -> PolicyDirection? {
        guard let (direction, side) = table.decide(flow).denied else { return nil }
        let pod = table.pod(at: direction == .egress ? flow.source : flow.destination)?.name ?? ""
        refused[Refusal(direction: direction, policies: table.refuser(side, direction), pod: pod), default: 0] += 1
        return direction
    }
}

extension Netfilter {
    /// Nil to go on.
    @inline(__always)
    mutating func police<E: NetfilterEnvironment>(_ frame: FrameHandle, _ packet: PacketHeaders, _ pool: FramePool, _ env: E) -> HookVerdict? {
        guard isPolicing else { return nil }
        if let connection = connections.entry(pool[frame].pointee.connection), connection.pointee.policyEpoch == policies.epoch { return nil }
        return judge(frame, packet, pool, env)
    }

    @inline(never)
    private mutating func judge<E: NetfilterEnvironment>(_ frame: FrameHandle, _ packet: PacketHeaders, _ pool: FramePool, _ env: E) -> HookVerdict? {
        let connection = connections.entry(pool[frame].pointee.connection)
        let flow: PolicyFlow
        if let connection {
            // As it began: from the source before masquerading to the destination after DNAT, which is where replies come from.
            let original = connection.pointee.original
            let reply = connection.pointee.reply
            flow = PolicyFlow(
                source: IPv4Address(rawValue: original.source), destination: IPv4Address(rawValue: reply.source), proto: IPProtocol(original.proto),
                port: original.proto == 1 ? 0 : reply.sourcePort)
        } else {
            // Of no connection: for itself.
            flow = PolicyFlow(
                source: IPv4Address(rawValue: packet.source), destination: IPv4Address(rawValue: packet.destination), proto: IPProtocol(packet.proto),
                port: packet.hasPorts ? packet.destinationPort : 0)
        }
        // The node's own traffic with its pods is never policed.
        if !env.isLocal(flow.source), !env.isLocal(flow.destination), let direction = policies.refuse(flow) {
            // What conntrack knows to be invalid gets no answer.
            guard policies.style == .reject, connection != nil else { return .policy(direction, nil) }
            return .policy(direction, packet.proto == 6 ? .tcpReset : .icmp(code: ICMPv4.adminProhibited))
        }
        connection?.pointee.policyEpoch = policies.epoch
        return nil
    }

    /// Undoes DNAT on a packet that is about to be refused: its destination is again the one its sender chose.
    mutating func restoreDestination(_ handle: FrameHandle, offset: Int, _ pool: inout FramePool) {
        let frame = pool[handle]
        guard let connection = connections.entry(frame.pointee.connection), !frame.pointee.connectionInfo.isReply,
            connection.pointee.status.contains(.destinationTranslated)
        else { return }
        pool.makeWritable(handle)
        guard var packet = PacketHeaders(pool[handle], offset: offset) else { return }
        let original = connection.pointee.original
        packet.rewrite(
            isSource: false, address: original.destination, port: original.destinationPort, isPartial: frame.pointee.flags.contains(.partialChecksum))
    }
}
