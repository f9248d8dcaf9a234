import HairpinWire

/// The headers of the IPv4 packet in a frame, read once at a hook. Void after the packet is rewritten, until `read` is called again.
struct PacketHeaders {
    /// The IP header.
    var network: UnsafeMutableRawPointer
    var headerLength: Int
    var totalLength: Int
    var source: UInt32
    var destination: UInt32
    var proto: UInt8
    /// A fragment other than the first: there is no transport header.
    var isLaterFragment: Bool
    /// TCP, UDP, SCTP: the ports; zero for others.
    var sourcePort: UInt16 = 0
    var destinationPort: UInt16 = 0
    /// The header of TCP, UDP, SCTP or ICMP is all there.
    var hasTransport = false

    var transport: UnsafeMutableRawPointer { network + headerLength }
    var transportLength: Int { totalLength - headerLength }

    /// Nil if there is no whole IPv4 header at `offset`, or the frame is shorter than it says.
    init?(_ frame: UnsafeMutablePointer<Frame>, offset: Int) {
        let available = Int(frame.pointee.count) - offset
        guard available >= 20 else { return nil }
        self.init(frame.pointee.data + offset, available: available)
    }

    /// Of a packet quoted in an ICMP error the total length may exceed what is there: `isQuoted`.
    init?(_ network: UnsafeMutableRawPointer, available: Int, isQuoted: Bool = false) {
        guard available >= 20 else { return nil }
        // Version, header length, type of service, total length.
        let word = network.u32(0)
        guard word >> 28 == 4 else { return nil }
        let header = Int(truncatingIfNeeded: word &>> 24 & 15) &* 4
        var total = Int(truncatingIfNeeded: word & 0xffff)
        if isQuoted { total = min(total, available) }
        guard header >= 20, total >= header, total <= available else { return nil }
        self.network = network
        headerLength = header
        totalLength = total
        source = network.u32(IPv4Offset.source)
        destination = network.u32(IPv4Offset.destination)
        proto = network.u8(IPv4Offset.proto)
        isLaterFragment = network.u16(IPv4Offset.flagsAndOffset) & IPv4Offset.fragmentMask != 0
        guard !isLaterFragment else { return }
        let length = total - header
        switch proto {
        case 6, 17, 132, 136:
            guard length >= 8 else { return }
            let ports = transport.u32(0)
            sourcePort = UInt16(truncatingIfNeeded: ports &>> 16)
            destinationPort = UInt16(truncatingIfNeeded: ports)
            if proto == 6, !isQuoted {
                guard length >= 20 else { return }
                let data = Int(transport.u8(TCPOffset.dataOffset) >> 4) * 4
                guard data >= 20, data <= length else { return }
            }
            hasTransport = true
        case 1:
            hasTransport = length >= 8
        default:
            break
        }
    }

    /// The port fields are there, even if the rest of the header is not.
    var hasPorts: Bool { !isLaterFragment && transportLength >= 4 && (proto == 6 || proto == 17 || proto == 132 || proto == 136) }
    var tcpFlags: UInt8 { transport.u8(TCPOffset.flags) }
    var timeToLive: UInt8 { network.u8(IPv4Offset.timeToLive) }
}
