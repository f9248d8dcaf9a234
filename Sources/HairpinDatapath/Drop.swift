/// Why a frame's life ended before it reached a socket. Every reason has a counter; names follow Linux's `skb_drop_reason` where it has one.
public enum DropReason: UInt8, CaseIterable, Sendable {
    // Links and interfaces
    case interfaceDown, linkQueueFull, linkLoss, backlogFull, frameTooShort, frameTooLong
    // Ethernet and bridge
    case otherHost, unhandledProtocol, bridgeNoPort, bridgeSamePort, bridgePortBlocked
    // ARP and neighbours
    case malformedARP, neighbourFailed, neighbourQueueFull
    // IP
    case malformedIP, checksumIP, martianSource, martianDestination, noRoute, timeToLiveExceeded, mustNotFragment
    case reversePathFilter, notForwarding, fragmentInvalid, fragmentTimeout, fragmentQueueFull, unhandledIPProtocol
    // Netfilter
    case ruleDrop, ruleReject, networkPolicyEgress, networkPolicyIngress, conntrackClash, conntrackFull, natExhausted, invalidTranslation, noVirtualServer
    // Transport
    case malformedTransport, checksumTransport, noSocket, socketBufferFull, minimumTimeToLive

    /// Words for people: "rule drop", "no route".
    public var words: String {
        switch self {
        // The rule below takes a capital I for the beginning of "IP".
        case .networkPolicyEgress: return "network policy egress"
        case .networkPolicyIngress: return "network policy ingress"
        default: break
        }
        var text = ""
        for character in String(describing: self) {
            if character.isUppercase, let last = text.last, !last.isUppercase { text += " " }
            text += character.isUppercase && !["A", "I"].contains(character) ? character.lowercased() : String(character)
        }
        return text
    }
}

/// The books of one logical process: every frame's end has a name.
///
/// Emitted + copies = delivered + dropped + consumed + in flight + handed over, at any time between two events.
public struct FrameBooks: Sendable, Equatable {
    /// Frames made by a protocol of this logical process, or received from another one.
    public var emitted: UInt64 = 0
    /// Clones made by flooding, fragments cut, and so on.
    public var copied: UInt64 = 0
    /// Frames whose packet reached a socket or a protocol that consumed it (ARP, ICMP, reassembly).
    public var delivered: UInt64 = 0
    public var dropped: UInt64 = 0
    /// Frames passed over a link to another logical process.
    public var handedOver: UInt64 = 0
    public var inFlight: UInt64 = 0
    /// Indexed by `DropReason.rawValue`.
    public var dropsByReason = [UInt64](repeating: 0, count: DropReason.allCases.count)
    public init() {}
    public var isBalanced: Bool { emitted + copied == delivered + dropped + handedOver + inFlight }
}
