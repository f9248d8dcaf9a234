/// Bits of a connection's status (`enum ip_conntrack_status`).
struct ConnectionStatus: OptionSet, Hashable, Sendable {
    let rawValue: UInt16
    static let expected = ConnectionStatus(rawValue: 1)
    /// A packet of the reply direction was seen.
    static let seenReply = ConnectionStatus(rawValue: 2)
    /// Not to be dropped early.
    static let assured = ConnectionStatus(rawValue: 4)
    /// In the table: its first packet left the host or reached its socket.
    static let confirmed = ConnectionStatus(rawValue: 8)
    static let sourceTranslated = ConnectionStatus(rawValue: 16), destinationTranslated = ConnectionStatus(rawValue: 32)
    /// The binding is decided, even if it changes nothing.
    static let sourceDone = ConnectionStatus(rawValue: 128), destinationDone = ConnectionStatus(rawValue: 256)
    /// Taken out of the table while a packet of it is still on its way.
    static let dying = ConnectionStatus(rawValue: 512)
    /// In the table of original sources.
    static let bySource = ConnectionStatus(rawValue: 1024)
    static let inUse = ConnectionStatus(rawValue: 2048)
    /// In the table under its reply tuple only, for a fixed time (IPS_NAT_CLASH, IPS_FIXED_TIMEOUT).
    static let clashed = ConnectionStatus(rawValue: 4096)
    static let translated: ConnectionStatus = [.sourceTranslated, .destinationTranslated]
}

/// States of a tracked TCP connection, as `conntrack -L` names them.
enum TCPState: UInt8, Sendable {
    case none, synSent, synReceived, established, finWait, closeWait, lastAck, timeWait, close, synSent2
    var name: String {
        ["NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2"][Int(rawValue)]
    }
}

/// Window of one side of a TCP connection (`ip_ct_tcp_state`).
struct TCPSide {
    /// Highest sequence number plus length it has sent.
    var end: UInt32 = 0
    /// Highest it may send.
    var maximumEnd: UInt32 = 0
    /// Largest window it has offered; zero before its first segment.
    var maximumWindow: UInt32 = 0
    var maximumAck: UInt32 = 0
    var scale: UInt8 = 0
    var flags: TCPSideFlags = []
}

struct TCPSideFlags: OptionSet {
    let rawValue: UInt8
    static let windowScale = TCPSideFlags(rawValue: 1), sackPermitted = TCPSideFlags(rawValue: 2), closeInitiated = TCPSideFlags(rawValue: 4)
    static let liberal = TCPSideFlags(rawValue: 8), unacknowledged = TCPSideFlags(rawValue: 16), maximumAckSet = TCPSideFlags(rawValue: 32)
}

/// What is known of a TCP connection (`ip_ct_tcp`).
struct TCPTrack {
    var original = TCPSide()
    var reply = TCPSide()
    var state = TCPState.none
    var lastReply = false
    var lastEvent = TCPEvent.none
    var retransmissions: UInt8 = 0
    var lastScale: UInt8 = 0
    var lastFlags: TCPSideFlags = []
    var lastWindow: UInt16 = 0
    var lastSequence: UInt32 = 0
    var lastAck: UInt32 = 0
    var lastEnd: UInt32 = 0
}

/// What of a segment the state machine looks at (`enum tcp_bit_set`).
enum TCPEvent: UInt8 {
    case syn, synAck, fin, ack, rst, none
    init(_ flags: UInt8) {
        self = flags & 4 != 0 ? .rst : flags & 2 != 0 ? (flags & 16 != 0 ? .synAck : .syn) : flags & 1 != 0 ? .fin : flags & 16 != 0 ? .ack : .none
    }
}

/// An entry of the table (`nf_conn`).
struct Connection {
    var original = ConnectionTuple()
    var reply = ConnectionTuple()
    /// Nanoseconds of virtual time; before the entry is confirmed, the span it may then stay idle.
    var expires: UInt64 = 0
    var mark: UInt32 = 0
    var status: ConnectionStatus = []
    /// Packets on their way that name the entry while it is not in the table.
    var holders: UInt16 = 0
    /// Distinguishes the entries that use the same place one after the other.
    var generation: UInt16 = 0
    /// Its entry among virtual servers' connections, place plus one, as far as it is known: to be held against the packet, and asked for anew if it is another.
    var virtualEntry: UInt32 = 0
    /// When it was made, or taken out of the table.
    var since: UInt64 = 0
    /// Next entry of the same bucket of original sources, or next free one; plus one.
    var next: UInt32 = 0
    /// The entry before it in that bucket; plus one, zero for the first.
    var previous: UInt32 = 0
    /// Interface MASQUERADE chose the address of.
    var masqueradeOutput: UInt32 = 0
    /// The network policies that let it pass, `PolicyFilter.epoch`; 0 before any have.
    var policyEpoch: UInt32 = 0
    /// Of the rules `walks` is about.
    var walkEpoch: UInt32 = 0
    /// Of the routes by which `serverNeighbour` is next on the way to the virtual server, see `RouteCache.epoch`; 0 before anybody has looked.
    var serverEpoch: UInt32 = 0
    /// The ways its packets go through the filter table, a number for each hook and direction; see `RememberedWalks`.
    var walks: UInt64 = 0
    /// UDP: from when on packets in both directions make a stream.
    var streamFrom: UInt64 = 0
    /// See `serverEpoch`.
    var serverNeighbour: UInt32 = 0
    var tcp = TCPTrack()
}
