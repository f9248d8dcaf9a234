/// How much `describe` says.
public struct DescribeOptions: Sendable, Hashable {
    /// IP's own fields and checksums, as tcpdump's -v.
    public var verbose = false
    /// Ethernet addresses and type, as tcpdump's -e.
    public var link = false
    public init(verbose: Bool = false, link: Bool = false) {
        self.verbose = verbose
        self.link = link
    }
}

/// One line about an Ethernet frame, in the words of tcpdump: `IP 10.244.0.2.41230 > 10.244.0.3.80: Flags [S], seq 1, win 64240, length 0`.
///
/// Sequence numbers are as on the wire, since a line knows nothing of the lines before it. Any bytes whatever have a description; what
/// is cut short or contradicts itself ends in `[|protocol]`.
public func describe(_ bytes: UnsafeRawBufferPointer, _ options: DescribeOptions = DescribeOptions()) -> String {
    var describer = Describer(options: options)
    describer.frame(bytes)
    return describer.text
}

/// The same for bytes in an array.
public func describe(_ bytes: some Sequence<UInt8>, _ options: DescribeOptions = DescribeOptions()) -> String {
    Array(bytes).withUnsafeBytes { describe($0, options) }
}

/// Collects the text; one method per protocol, in several files.
struct Describer {
    let options: DescribeOptions
    var text = ""
    /// Tunnels and quoted packets around what is being described: more than a few are not followed.
    var depth = 0

    init(options: DescribeOptions) { self.options = options }

    static let depthLimit = 3

    mutating func frame(_ bytes: UnsafeRawBufferPointer) {
        guard let ethernet = EthernetView(bytes) else {
            text += "[|ether] \(bytes.count) bytes"
            return
        }
        let (type, offset, _) = ethernet.payload
        if options.link { text += "\(ethernet.source) > \(ethernet.destination), ethertype \(Describer.name(of: ethernet.type)), length \(bytes.count): " }
        tags(bytes, offset)
        let payload = UnsafeRawBufferPointer(rebasing: bytes[offset...])
        switch type {
        case .ipv4: ipv4(payload)
        case .arp: arp(payload)
        case .ipv6: ipv6(payload)
        case .vlan, .providerVLAN: text += "[|vlan] \(payload.count) bytes"
        default: text += type.rawValue < 0x0600 ? "802.3, length \(type.rawValue)" : "ethertype \(Describer.name(of: type)), length \(payload.count)"
        }
    }

    /// The 802.1Q tags between the addresses and `offset`.
    private mutating func tags(_ bytes: UnsafeRawBufferPointer, _ offset: Int) {
        guard let base = bytes.baseAddress else { return }
        for at in stride(from: EthernetOffset.payload, to: offset, by: 4) {
            let tag = base.u16(at)
            text += "vlan \(tag & 0x0fff), p \(tag >> 13)\(tag & 0x1000 != 0 ? ", DEI" : ""), "
        }
    }

    static func name(of type: EtherType) -> String {
        switch type {
        case .ipv4: "IPv4 (0x0800)"
        case .arp: "ARP (0x0806)"
        case .ipv6: "IPv6 (0x86dd)"
        case .vlan: "802.1Q (0x8100)"
        case .providerVLAN: "802.1ad (0x88a8)"
        default: "Unknown (0x\(hexadecimal(type.rawValue)))"
        }
    }

    private mutating func arp(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 8, let base = bytes.baseAddress else {
            text += "ARP, [|arp] \(bytes.count) bytes"
            return
        }
        guard let arp = ARPHeader(parsing: bytes) else {
            let hardware = base.u16(ARPOffset.hardwareType)
            let type = base.u16(ARPOffset.protocolType)
            text +=
                hardware == 1 && type == EtherType.ipv4.rawValue && bytes.count >= ARPHeader.byteCount
                ? "ARP, operation \(base.u16(ARPOffset.operation)), length \(bytes.count)"
                : "ARP, hardware \(hardware), protocol 0x\(hexadecimal(type)), [|arp] length \(bytes.count)"
            return
        }
        switch arp.operation {
        case .request:
            text += "ARP, Request who-has \(arp.targetProtocol)"
            if arp.targetHardware != .zero { text += " (\(arp.targetHardware))" }
            text += " tell \(arp.senderProtocol)"
        case .reply: text += "ARP, Reply \(arp.senderProtocol) is-at \(arp.senderHardware)"
        }
        text += ", length \(bytes.count)"
    }
}

func hexadecimal(_ number: UInt16) -> String { hexadecimal(UInt8(number >> 8)) + hexadecimal(UInt8(truncatingIfNeeded: number)) }
