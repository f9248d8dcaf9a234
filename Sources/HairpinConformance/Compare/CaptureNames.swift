import Foundation
import HairpinWire

/// What is called how: the part of a `scenario.json` a comparison needs.
public struct CaptureDescription: Sendable, Equatable {
    /// By address as text: "10.244.0.2" is "pod1".
    public var ips: [String: String]
    /// By address as text: "0a:58:0a:f4:00:02" is "pod1.eth0".
    public var macs: [String: String]
    /// Ports that keep their number; all others become symbols.
    public var ports: Set<UInt16>
    /// At flow level: pods that a random choice makes interchangeable, and what they are called together.
    public var roles: [String: String]

    public init(ips: [String: String] = [:], macs: [String: String] = [:], ports: Set<UInt16> = [], roles: [String: String] = [:]) {
        self.ips = ips
        self.macs = macs
        self.ports = ports
        self.roles = roles
    }

    private struct File: Decodable {
        struct Names: Decodable {
            var ip: [String: String]?
            var mac: [String: String]?
        }
        var names: Names?
        var ports: [UInt16]?
        var roles: [String: String]?
    }

    /// Reads a `scenario.json`. Throws `ComparisonError.unreadable`.
    public init(contentsOf url: URL) throws {
        do {
            let file = try JSONDecoder().decode(File.self, from: Data(contentsOf: url))
            self.init(ips: file.names?.ip ?? [:], macs: file.names?.mac ?? [:], ports: Set(file.ports ?? []), roles: file.roles ?? [:])
        } catch {
            throw ComparisonError.unreadable(file: url.path, reason: describe(error))
        }
    }

    /// The `scenario.json` of a folder of captures, or of the scenario that a run belongs to.
    static func find(near folder: URL) -> URL? {
        [folder, folder.deletingLastPathComponent(), folder.deletingLastPathComponent().deletingLastPathComponent()]
            .map { $0.appendingPathComponent("scenario.json") }
            .first { FileManager.default.fileExists(atPath: $0.path) }
    }
}

/// Why a comparison cannot be made at all.
public enum ComparisonError: Error, CustomStringConvertible, Sendable {
    case unreadable(file: String, reason: String)
    case noCaptures(folder: String)
    public var description: String {
        switch self {
        case .unreadable(let file, let reason): "\(file): \(reason)"
        case .noCaptures(let folder): "\(folder): there is no .pcap or .pcap.gz in this folder"
        }
    }
}

/// Foundation's words for an error without its type names.
func describe(_ error: any Error) -> String {
    switch error as? DecodingError {
    case .keyNotFound(_, let context), .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
        let path = context.codingPath.map(\.stringValue).joined(separator: ".")
        return path.isEmpty ? context.debugDescription : "\(path): \(context.debugDescription)"
    default: return error.localizedDescription
    }
}

/// Symbols for everything that differs between otherwise equal runs. Ephemeral ports and ICMP identifiers are numbered in the order in
/// which they are first asked for.
struct CaptureNames {
    private var macs: [MACAddress: String]
    private let ips: [String: String]
    let ports: Set<UInt16>
    private let roles: [String: String]
    private var ephemeral: [UInt16: Int] = [:]
    private var identifiers: [UInt16: Int] = [:]

    init(_ description: CaptureDescription) {
        macs = [.broadcast: "bcast", .zero: "0"]
        for (text, name) in description.macs { if let mac = MACAddress(text) { macs[mac] = name } }
        ips = description.ips
        ports = description.ports.union(vxlanPorts)
        roles = description.roles
    }

    func mac(_ value: MACAddress) -> String {
        if value.rawValue >> 32 == 0x3333 || value.rawValue >> 24 == 0x01005e { return "mcast" }
        return macs[value] ?? value.description
    }
    func ip(_ value: NetworkAddress) -> String { ips[value.text] ?? value.text }
    func ip(_ value: IPv4Address) -> String { ip(.v4(value)) }

    mutating func port(_ value: UInt16) -> String {
        if ports.contains(value) { return String(value) }
        let number = ephemeral[value] ?? ephemeral.count + 1
        ephemeral[value] = number
        return "e\(number)"
    }
    mutating func identifier(_ value: UInt16) -> String {
        let number = identifiers[value] ?? identifiers.count + 1
        identifiers[value] = number
        return "i\(number)"
    }

    // What the flow level calls things.

    /// The part before the first `separator` as its role.
    func role(_ name: String, separator: Character = ".") -> String {
        guard let end = name.firstIndex(of: separator) else { return roles[name] ?? name }
        let host = String(name[..<end])
        return (roles[host] ?? host) + name[end...]
    }
    func roleOfIP(_ value: NetworkAddress) -> String { ips[value.text].map { role($0) } ?? value.text }
    func roleOfMAC(_ value: MACAddress) -> String {
        let name = mac(value)
        guard let dot = name.firstIndex(of: ".") else { return name }
        return role(String(name[..<dot])) + "." + roleOfDevice(name[name.index(after: dot)...])
    }
    /// "node1-veth-pod2" by the roles of host and pod.
    func roleOfInterface(_ name: String) -> String {
        guard let dash = name.firstIndex(of: "-") else { return role(name) + "-" }
        return role(String(name[..<dash])) + "-" + roleOfDevice(name[name.index(after: dash)...])
    }
    func flowPort(_ value: UInt16) -> String { ports.contains(value) ? String(value) : "e" }

    private func roleOfDevice(_ device: Substring) -> String {
        for prefix in ["veth-", "port-"] where device.hasPrefix(prefix) { return prefix + role(String(device.dropFirst(prefix.count))) }
        return String(device)
    }
}
