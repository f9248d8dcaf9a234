import HairpinPolicy
import HairpinWire

/// Netfilter's five hooks of the IPv4 family (`nf_inet_hooks`).
enum Hook: UInt8, CaseIterable, Sendable { case prerouting, localIn, forward, localOut, postrouting }

/// `enum ip_conntrack_info`, with the absence of an entry and Linux's UNTRACKED and INVALID as values of their own.
enum ConnectionInfo: UInt8, Sendable {
    case none, new, established, related, establishedReply, relatedReply, invalid, untracked
    var isReply: Bool { self == .establishedReply || self == .relatedReply }
}

/// What a rule set answers for a packet.
enum HookVerdict {
    case accept
    case drop(DropReason)
    /// REJECT: dropped, and the sender is told as `RejectKind` says.
    case reject(RejectKind)
    /// No network policy allows the packet: dropped, and its sender told if so wanted.
    case policy(PolicyDirection, RejectKind?)
    /// IPVS at LOCAL_IN took the packet and rewrote it: it goes out through routing and LOCAL_OUT instead of to a socket.
    case reroute
}

/// `--reject-with` of the REJECT target.
enum RejectKind: Hashable, Sendable {
    case icmp(code: UInt8)  // type 3, destination unreachable
    case tcpReset
}

/// Where a packet is when it meets a hook. For a bridged packet `input` and `output` are the bridge and the ports are in the frame's
/// `physicalIn` and `physicalOut`, as br_netfilter presents them.
struct HookPlace {
    var hook: Hook
    var input: InterfaceIndex
    var output: InterfaceIndex
    /// Bytes from the frame's start to its IP header: 14 in the bridge, 0 where IP has taken the link header off.
    var networkOffset: Int

    /// Whose namespace's tables are asked.
    var device: InterfaceIndex { output == .none ? input : output }
}
