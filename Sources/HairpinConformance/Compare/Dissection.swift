import HairpinWire

/// An IPv4 or IPv6 address of a captured packet.
enum NetworkAddress: Hashable {
    case v4(IPv4Address)
    case v6(IPv6Address)
    var text: String {
        switch self {
        case .v4(let address): address.description
        case .v6(let address): address.description
        }
    }
}

/// What a comparison looks at in a frame: the fields of every layer that is there. Anything at all can be dissected; what is malformed
/// ends at the layer that is.
struct Dissection {
    var source: MACAddress
    var destination: MACAddress
    var type: UInt16
    /// Bytes behind the packet; negative if the frame is shorter than the packet claims.
    var padding = 0
    /// Bytes behind the Ethernet header, of a frame that carries neither ARP nor IP.
    var rawLength = 0
    var arp: ARPFields?
    var ip: IPFields?
    var tcp: TCPFields?
    var udp: UDPFields?
    var icmp: ICMPFields?
    var checksum = TransportChecksum.unknown
    var nested = NestedPacket.none
    var vxlanIdentifier: UInt32 = 0
}

/// A packet inside the packet.
indirect enum NestedPacket {
    case none
    /// The frame in a VXLAN tunnel.
    case tunnelled(Dissection)
    /// What an ICMP error complains about; it has no Ethernet header.
    case quoted(Dissection)
}

/// `zero` is UDP without one, `partial` one left for hardware that never came (on `lo`), `cut` one that cannot be known.
enum TransportChecksum { case unknown, ok, bad, zero, partial, cut }

struct ARPFields {
    var operation: UInt16
    var senderHardware: MACAddress
    var senderProtocol: IPv4Address
    var targetHardware: MACAddress
    var targetProtocol: IPv4Address
}

struct IPFields {
    var version: Int
    var source: NetworkAddress
    var destination: NetworkAddress
    var timeToLive: Int
    var typeOfService: Int
    /// IPv4 only.
    var identification: UInt16?
    var dontFragment = false
    var moreFragments = false
    var offset = 0
    var proto: Int
    /// As the header tells them.
    var headerLength: Int
    var totalLength: Int
    var payloadLength = 0
    var isChecksumValid = true
}

struct TCPFields {
    enum Option {
        case end, nop, sackPermitted
        case maximumSegmentSize(UInt16)
        case windowScale(UInt8)
        case sack([(UInt32, UInt32)])
        case timestamps(echo: UInt32)
        case other(kind: UInt8, length: Int)
    }
    var sourcePort: UInt16
    var destinationPort: UInt16
    var sequence: UInt32
    /// False for a quoted header of which only eight bytes are there.
    var isComplete = false
    var acknowledgment: UInt32 = 0
    var flags: TCPFlags = []
    var window: UInt16 = 0
    var length = 0
    var options: [Option] = []

    /// One letter per flag, FIN first.
    var flagLetters: String {
        String(zip("FSRPAUEC", 0..<8).filter { flags.rawValue >> $0.1 & 1 == 1 }.map(\.0))
    }
}

struct UDPFields {
    var sourcePort: UInt16
    var destinationPort: UInt16
    var length: Int
}

struct ICMPFields {
    var version: Int
    var type: UInt8
    var code: UInt8
    /// Bytes behind the first eight.
    var length: Int
    var echo: (identifier: UInt16, sequence: UInt16)?
    var mtu: UInt32 = 0
    /// Of neighbour discovery (RFC 4861 §4.3).
    var target: IPv6Address?
    var neighbourFlags: UInt32 = 0
    var linkAddress: MACAddress?
}
