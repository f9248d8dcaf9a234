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
        guard let colon = text.firstIndex(of: ":") else { return matchesHost(text, interface.host) || glob(text, interface.name) }
        return matchesHost(String(text[..<colon]), interface.host) && glob(String(text[text.index(after: colon)...]), interface.name)
    }

    /// Whether the pattern's hosts include this one.
    public func matches(host: String) -> Bool { matchesHost(String(text[..<(text.firstIndex(of: ":") ?? text.endIndex)]), host) }

    private func matchesHost(_ pattern: String, _ host: String) -> Bool {
        if glob(pattern, host) { return true }
        guard !pattern.contains("/"), let slash = host.lastIndex(of: "/") else { return false }
        return glob(pattern, String(host[host.index(after: slash)...]))
    }
}

/// Matching with `*` and `?`.
///
/// - Complexity: O(pattern × text) at worst.
private func glob(_ pattern: String, _ text: String) -> Bool {
    let pattern = Array(pattern.utf8)
    let text = Array(text.utf8)
    var p = 0
    var t = 0
    var star: (pattern: Int, text: Int)?
    while t < text.count {
        if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
            star = (p, t)
            p += 1
        } else if p < pattern.count, pattern[p] == UInt8(ascii: "?") || pattern[p] == text[t] {
            p += 1
            t += 1
        } else if let last = star {
            star = (last.pattern, last.text + 1)
            p = last.pattern + 1
            t = last.text + 1
        } else {
            return false
        }
    }
    return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
}
