import HairpinDatapath
import HairpinWire

/// An interface that can be captured, as the topology describes it.
public struct CaptureInterface: Sendable {
    /// The number of the logical process the interface belongs to; `index` is unique in it.
    public var logicalProcess: Int
    public var index: InterfaceIndex
    /// The host's name: "node1", "default/web-0".
    public var host: String
    public var name: String
    public var mac: MACAddress
    public var addresses: [IPv4InterfaceAddress]
    /// Bits per second; zero is unknown.
    public var speed: UInt64
    /// For people: "veth, peer pod1/eth0, port of cni0".
    public var text: String

    public init(
        logicalProcess: Int = 0, index: InterfaceIndex, host: String, name: String, mac: MACAddress = .zero,
        addresses: [IPv4InterfaceAddress] = [], speed: UInt64 = 0, text: String = ""
    ) {
        self.logicalProcess = logicalProcess
        self.index = index
        self.host = host
        self.name = name
        self.mac = mac
        self.addresses = addresses
        self.speed = speed
        self.text = text
    }

    /// "node1:eth0", the way patterns are written.
    public var label: String { "\(host):\(name)" }
    /// "node1-eth0", with "_" for what does not belong in a file name.
    public var fileName: String {
        String("\(host)-\(name)".map { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) ? $0 : "_" })
    }
}

/// Which interfaces a capture looks at: `*`, `pod1:eth0`, `node1:*`, `*:veth-*`. `*` stands for any characters, `?` for one. A pod may be
/// named without its namespace. Without a colon the pattern names hosts or interfaces.
public struct InterfacePattern: Sendable, Hashable {
    public let text: String
    public init(_ text: String) { self.text = text }

    public func matches(_ interface: CaptureInterface) -> Bool {
        guard let colon = text.firstIndex(of: ":") else { return matchesHost(text, interface.host) || WildcardPattern(text).matches(interface.name) }
        return matchesHost(String(text[..<colon]), interface.host) && WildcardPattern(String(text[text.index(after: colon)...])).matches(interface.name)
    }

    /// Whether the pattern's hosts include this one.
    public func matches(host: String) -> Bool { matchesHost(String(text[..<(text.firstIndex(of: ":") ?? text.endIndex)]), host) }

    private func matchesHost(_ pattern: String, _ host: String) -> Bool {
        if WildcardPattern(pattern).matches(host) { return true }
        guard !pattern.contains("/"), let slash = host.lastIndex(of: "/") else { return false }
        return WildcardPattern(pattern).matches(String(host[host.index(after: slash)...]))
    }
}
