import HairpinEngine
import HairpinWire

/// A received segment taken apart, options included.
struct Segment {
    var source: IPv4Address
    var destination: IPv4Address
    var sourcePort: UInt16
    var destinationPort: UInt16
    var sequence: SequenceNumber
    /// Past the data, SYN and FIN.
    var end: SequenceNumber
    var acknowledgment: SequenceNumber
    var flags: TCPFlags
    /// As on the wire.
    var window: UInt16
    var typeOfService: UInt8
    var payload: UnsafeRawBufferPointer
    // Options
    var hasTimestamp = false
    var sackPermitted = false
    var timestampValue: UInt32 = 0
    var timestampEcho: UInt32 = 0
    var maximumSegment: UInt16 = 0
    var windowScale: UInt8?
    /// The blocks of the SACK option as they are, eight bytes each.
    var sackBlocks: UnsafeRawPointer?
    var sackCount = 0
    /// The cookie of a Fast Open option; its length is -1 without the option, and 0 in a request for one (RFC 7413 §4.1.1).
    var cookie: UnsafeRawPointer?
    var cookieLength = -1
    var isCookieExperimental = false
    var urgentPointer: UInt16
    var memory: PacketMemory
    /// The size of its segments, when a backlog joined several (`gso_size`).
    var segmentSize: Int
    /// Counted before, when it came into a backlog.
    var isCounted = false
    /// An MD5 signature (RFC 2385), for which nobody here has a key.
    var isSigned = false

    /// RFC 9293 §3.1, RFC 7323 §2 and §3, RFC 2018. Options that do not fit end the parsing, as in `tcp_parse_options`.
    init(_ ip: IPv4View, _ tcp: TCPView, _ memory: PacketMemory) {
        self.memory = memory
        source = ip.source
        destination = ip.destination
        typeOfService = ip.typeOfService
        sourcePort = tcp.sourcePort
        destinationPort = tcp.destinationPort
        sequence = tcp.sequence
        acknowledgment = tcp.acknowledgment
        flags = tcp.flags
        window = tcp.window
        urgentPointer = tcp.urgentPointer
        payload = tcp.payload
        segmentSize = payload.count
        end = sequence + payload.count + (flags.contains(.syn) ? 1 : 0) + (flags.contains(.fin) ? 1 : 0)
        let length = tcp.headerLength
        guard length > 20, let base = tcp.bytes.baseAddress else { return }
        var at = 20
        // The usual layout first: NOP NOP timestamps and nothing else.
        if length == 32, base.u32(20) == 0x0101_080a {
            hasTimestamp = true
            timestampValue = base.u32(24)
            timestampEcho = base.u32(28)
            return
        }
        while at < length {
            let kind = base.u8(at)
            if kind == 0 { return }
            if kind == 1 {
                at += 1
                continue
            }
            guard at + 1 < length else { return }
            let size = Int(base.u8(at + 1))
            guard size >= 2, at + size <= length else { return }
            switch (kind, size) {
            case (2, 4): if flags.contains(.syn) { maximumSegment = base.u16(at + 2) }
            case (3, 3): if flags.contains(.syn) { windowScale = min(base.u8(at + 2), 14) }
            case (4, 2): if flags.contains(.syn) { sackPermitted = true }
            case (5, let n) where n >= 10 && (n - 2) % 8 == 0:
                sackBlocks = base + at + 2
                sackCount = (n - 2) / 8
            case (8, 10):
                hasTimestamp = true
                timestampValue = base.u32(at + 2)
                timestampEcho = base.u32(at + 6)
            case (19, 18): isSigned = true
            case (FastOpenCookie.kind, 2...18) where flags.contains(.syn) && size % 2 == 0:
                cookie = base + at + 2
                cookieLength = size - 2
            case (FastOpenCookie.experimentKind, 4...20) where flags.contains(.syn) && size % 2 == 0 && base.u16(at + 2) == FastOpenCookie.magic:
                cookie = base + at + 4
                cookieLength = size - 4
                isCookieExperimental = true
            default: break
            }
            at += size
        }
    }

    var isReset: Bool { flags.contains(.rst) }
    var isSYN: Bool { flags.contains(.syn) }
    var isFIN: Bool { flags.contains(.fin) }
    var isACK: Bool { flags.contains(.ack) }

    func sackBlock(_ index: Int) -> (start: SequenceNumber, end: SequenceNumber) {
        let base = sackBlocks.unsafelyUnwrapped + index * 8
        return (SequenceNumber(base.u32(0)), SequenceNumber(base.u32(4)))
    }
}

/// Sizes of options as sent, padding included.
enum OptionSize {
    static let maximumSegment = 4, timestamps = 12, selectiveAckBase = 4, selectiveAckBlock = 8, all = 40
}
