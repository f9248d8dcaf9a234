import HairpinWire

/// One set of ipset(8) for IPv4: what `create` said of it and what has been added.
///
/// Every type is kept in the same way, as the kernel's `hash:net,…` types keep theirs: entries by their masked addresses, and the prefix lengths that
/// occur. Asking costs one look-up for each pair of lengths that occurs, which is one for sets without nets.
struct IPSet: Sendable {
    /// One dimension of a type such as `hash:ip,port,net`.
    enum Dimension: Hashable, Sendable { case address, net, port, interface, mark }

    struct Key: Hashable, Sendable {
        var address: UInt32 = 0
        var second: UInt32 = 0
        var lengths = Lengths(first: 32, second: 32)
        /// Protocol and port, `proto << 16 | port`; of `bitmap:port` the port alone.
        var port: UInt32 = 0
        var mark: UInt32 = 0
        var interface = ""
    }
    private struct Value: Sendable {
        /// `nomatch`: an exception from a larger net.
        var isException = false
        /// Nanoseconds of virtual time; zero for ever.
        var expires: UInt64 = 0
    }
    struct Lengths: Hashable, Sendable { var first: UInt8, second: UInt8 }

    let name: String
    /// "hash:ip,port" and the options of `create`, as they were written.
    let type: String
    let options: [String]
    let dimensions: [Dimension]
    let isList: Bool
    /// Sets for IPv6 are kept by name, and hold no IPv4 address.
    let isIPv6: Bool
    private let netmask: UInt32
    private let markMask: UInt32
    /// Seconds; of entries that say nothing else. Nil for a set without timeouts.
    private let timeout: UInt64?
    private var entries: [Key: Value] = [:]
    /// From the longest.
    private var lengths: [(Lengths, count: Int)] = []
    /// Of a `list:set`.
    private(set) var members: [String] = []

    var count: Int { isList ? members.count : entries.count }

    private static let types: [String: [Dimension]] = [
        "hash:ip": [.address], "hash:net": [.net], "hash:ip,port": [.address, .port], "hash:net,port": [.net, .port], "hash:ip,port,ip": [.address, .port, .address],
        "hash:ip,port,net": [.address, .port, .net], "hash:net,net": [.net, .net], "hash:net,port,net": [.net, .port, .net], "hash:net,iface": [.net, .interface],
        "hash:ip,mark": [.address, .mark], "bitmap:ip": [.address], "bitmap:port": [.port], "list:set": [],
    ]

    /// `words` are those behind `create`.
    init(creating words: [String]) throws(RuleProblem) {
        guard words.count >= 2 else { throw RuleProblem(reason: "create needs a name and a type") }
        name = words[0]
        type = words[1]
        guard !name.isEmpty, name.utf8.count <= 31 else { throw RuleProblem(reason: "'\(name)' is no name of a set (1 to 31 characters)") }
        guard let dimensions = IPSet.types[type] else {
            throw RuleProblem(reason: "unknown type of set '\(type)'; known are \(IPSet.types.keys.sorted().joined(separator: ", "))")
        }
        self.dimensions = dimensions
        isList = type == "list:set"
        options = Array(words.dropFirst(2))
        try IPSet.check(options, type)
        func value(_ option: String) -> String? {
            guard let index = words.lastIndex(of: option), index >= 2, index + 1 < words.count else { return nil }
            return words[index + 1]
        }
        isIPv6 = value("family") == "inet6"
        if let text = value("netmask") {
            guard let length = Int(text), 1...32 ~= length || isIPv6 else { throw RuleProblem(reason: "netmask '\(text)' is not 1 to 32") }
            netmask = isIPv6 ? ~0 : IPv4Prefix.mask(length)
        } else {
            netmask = ~0
        }
        if let text = value("markmask") {
            guard let mask = RuleParser.number(text) else { throw RuleProblem(reason: "markmask '\(text)' is no number") }
            markMask = mask
        } else {
            markMask = ~0
        }
        if let text = value("timeout") {
            guard let seconds = UInt64(text), seconds < 2_147_483 else { throw RuleProblem(reason: "timeout '\(text)' is no number of seconds") }
            timeout = seconds
        } else {
            timeout = nil
        }
    }

    /// Options of `create` as ipset(8) has them, each with what it takes.
    private static func check(_ options: [String], _ type: String) throws(RuleProblem) {
        var position = 0
        while position < options.count {
            let option = options[position]
            position += 1
            if ["counters", "comment", "skbinfo", "forceadd", "nomatch", "wildcard"].contains(option) { continue }
            guard ["family", "hashsize", "maxelem", "netmask", "bitmask", "markmask", "timeout", "range", "size", "bucketsize", "initval"].contains(option) else {
                throw RuleProblem(reason: "unknown option '\(option)' of create")
            }
            guard position < options.count else { throw RuleProblem(reason: "\(option) needs a value") }
            let value = options[position]
            position += 1
            let isRight: Bool
            switch option {
            case "family": isRight = value == "inet" || value == "inet6"
            case "range":
                let ends = value.split(whereSeparator: { $0 == "-" || $0 == "/" })
                isRight = type == "bitmap:port" ? ends.count == 2 && ends.allSatisfy { UInt16($0) != nil } : ends.count == 2 && IPv4Address(ends[0]) != nil
            // Masks of other forms are looked at where they are used.
            case "netmask", "bitmask", "markmask", "timeout": isRight = true
            default: isRight = RuleParser.number(value) != nil
            }
            guard isRight else { throw RuleProblem(reason: "'\(value)' is not what \(option) takes") }
        }
    }

    // MARK: Changes

    /// `add` or `del` with the words behind the set's name.
    mutating func change(adding: Bool, _ words: [String], now: UInt64) throws(RuleProblem) {
        guard let element = words.first else { throw RuleProblem(reason: "an entry is missing") }
        if isList {
            guard words.count == 1 || words.count == 3 && ["before", "after", "comment", "timeout"].contains(words[1]) else {
                throw RuleProblem(reason: "a member of a list is one name, not '\(words.joined(separator: " "))'")
            }
            members.removeAll { $0 == element }
            if adding { members.append(element) }
            return
        }
        if isIPv6 { return }
        var value = Value()
        if let seconds = timeout, seconds > 0 { value.expires = now + seconds * 1_000_000_000 }
        var position = 1
        while position < words.count {
            switch words[position] {
            case "nomatch": value.isException = true
            case "-exist", "-!": break
            case "timeout":
                guard position + 1 < words.count, let seconds = UInt64(words[position + 1]), seconds < 2_147_483 else {
                    throw RuleProblem(reason: "timeout needs a number of seconds")
                }
                guard timeout != nil else { throw RuleProblem(reason: "set '\(name)' was created without 'timeout'") }
                value.expires = seconds == 0 ? 0 : now + seconds * 1_000_000_000
                position += 1
            case "comment", "packets", "bytes", "skbmark", "skbprio", "skbqueue":
                guard position + 1 < words.count else { throw RuleProblem(reason: "\(words[position]) needs a value") }
                position += 1
            default: throw RuleProblem(reason: "unknown option '\(words[position])' of an entry")
            }
            position += 1
        }
        for key in try parse(element) { if adding { insert(key, value) } else { remove(key) } }
    }

    private mutating func insert(_ key: Key, _ value: Value) {
        guard entries.updateValue(value, forKey: key) == nil else { return }
        if let index = lengths.firstIndex(where: { $0.0 == key.lengths }) {
            lengths[index].count += 1
        } else {
            lengths.append((key.lengths, 1))
            // The longest first; of two dimensions the first decides (`mtype_test_cidrs`).
            lengths.sort { ($0.0.first, $0.0.second) > ($1.0.first, $1.0.second) }
        }
    }

    private mutating func remove(_ key: Key) {
        guard entries.removeValue(forKey: key) != nil, let index = lengths.firstIndex(where: { $0.0 == key.lengths }) else { return }
        lengths[index].count -= 1
        if lengths[index].count == 0 { lengths.remove(at: index) }
    }

    /// Expands an element to its keys: ranges of ports and addresses are entries one by one.
    private func parse(_ element: String) throws(RuleProblem) -> [Key] {
        let parts = element.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == dimensions.count else { throw RuleProblem(reason: "'\(element)' does not have the \(dimensions.count) parts of \(type)") }
        var keys = [Key()]
        var isSecond = false
        for (part, dimension) in zip(parts, dimensions) {
            switch dimension {
            case .address, .net:
                let ranges = try addresses(part, isNet: dimension == .net)
                guard keys.count * ranges.count <= 65_536 else { throw RuleProblem(reason: "'\(element)' stands for more than 65536 entries") }
                var next: [Key] = []
                for key in keys {
                    for (address, length) in ranges {
                        var one = key
                        if isSecond { (one.second, one.lengths.second) = (address, length) } else { (one.address, one.lengths.first) = (address, length) }
                        next.append(one)
                    }
                }
                keys = next
                isSecond = true
            case .port:
                let ports = try ports(part)
                guard keys.count * ports.count <= 65_536 else { throw RuleProblem(reason: "'\(element)' stands for more than 65536 entries") }
                var next: [Key] = []
                for key in keys {
                    for port in ports {
                        var one = key
                        one.port = port
                        next.append(one)
                    }
                }
                keys = next
            case .interface: for index in keys.indices { keys[index].interface = part }
            case .mark:
                guard let mark = RuleParser.number(part) else { throw RuleProblem(reason: "'\(part)' is no mark") }
                for index in keys.indices { keys[index].mark = mark & markMask }
            }
        }
        return keys
    }

    private func addresses(_ text: String, isNet: Bool) throws(RuleProblem) -> [(UInt32, UInt8)] {
        func problem() -> RuleProblem { RuleProblem(reason: "'\(text)' is not an IPv4 address, prefix or range") }
        if let dash = text.firstIndex(of: "-") {
            guard let low = IPv4Address(text[..<dash]), let high = IPv4Address(text[text.index(after: dash)...]), low <= high, high.rawValue - low.rawValue < 65_536 else {
                throw problem()
            }
            return (low.rawValue...high.rawValue).map { ($0 & netmask, 32) }
        }
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count <= 2, let address = IPv4Address(halves[0]) else { throw problem() }
        guard halves.count == 2 else { return [(address.rawValue & netmask, 32)] }
        guard let length = Int(halves[1]), 0...32 ~= length else { throw problem() }
        // `hash:ip` adds every address of a prefix; kept as the prefix it asks the same.
        return [(address.rawValue & IPv4Prefix.mask(length) & (isNet ? ~0 : netmask), UInt8(length))]
    }

    /// `443`, `tcp:443`, `udp:53-60`, `icmp:8/0`.
    private func ports(_ text: String) throws(RuleProblem) -> [UInt32] {
        func problem() -> RuleProblem { RuleProblem(reason: "'\(text)' is not a port such as tcp:443") }
        var proto: UInt8 = 6
        var rest = Substring(text)
        if let colon = text.firstIndex(of: ":") {
            guard let number = RuleParser.protocolNumber(String(text[..<colon])) else { throw problem() }
            proto = number
            rest = text[text.index(after: colon)...]
        }
        if proto == 1 {
            let halves = rest.split(separator: "/", omittingEmptySubsequences: false)
            guard halves.count == 2, let type = UInt8(halves[0]), let code = UInt8(halves[1]) else { throw problem() }
            return [1 << 16 | UInt32(type) << 8 | UInt32(code)]
        }
        let ends = rest.split(separator: "-", omittingEmptySubsequences: false)
        guard (1...2) ~= ends.count, let low = RuleParser.port(ends[0]), let high = ends.count == 2 ? RuleParser.port(ends[1]) : low, low <= high else { throw problem() }
        let high16: UInt32 = type == "bitmap:port" ? 0 : UInt32(proto) << 16
        return (low...high).map { high16 | UInt32($0) }
    }

    // MARK: Packets

    /// What a packet has for each dimension, taken by the directions of `--match-set`; nil where it has nothing (no ports, no interface).
    struct Question {
        var address: UInt32 = 0
        var second: UInt32 = 0
        var port: UInt32 = 0
        var mark: UInt32 = 0
        var interface = ""
    }

    /// Whether the set has it: nil for an exception (`nomatch`).
    func contains(_ question: Question, now: UInt64) -> Bool? {
        var key = Key()
        key.port = question.port
        key.mark = question.mark & markMask
        key.interface = question.interface
        for (length, _) in lengths {
            key.address = question.address & netmask & IPv4Prefix.mask(Int(length.first))
            key.second = question.second & IPv4Prefix.mask(Int(length.second))
            key.lengths = length
            guard let value = entries[key], value.expires == 0 || value.expires > now else { continue }
            return value.isException ? nil : true
        }
        return false
    }

    /// `SET --add-set` and `--del-set`.
    mutating func change(adding: Bool, _ question: Question, timeout seconds: UInt32?, renews: Bool, now: UInt64) {
        guard !isList, !isIPv6 else { return }
        let key = Key(
            address: question.address & netmask, second: question.second, port: question.port, mark: question.mark & markMask, interface: question.interface)
        guard adding else { return remove(key) }
        if let known = entries[key], known.expires == 0 || known.expires > now, !renews { return }
        var value = Value()
        if let seconds = seconds.map(UInt64.init) ?? timeout, seconds > 0 { value.expires = now + seconds * 1_000_000_000 }
        if entries[key] != nil { entries[key] = value } else { insert(key, value) }
    }

    // MARK: Text

    /// As `ipset save` prints it; entries in their order as numbers.
    func lines(now: UInt64) -> [String] {
        var result = [(["create", name, type] + options).joined(separator: " ")]
        if isList { return result + members.map { "add \(name) \($0)" } }
        var texts: [(Key, String)] = []
        for (key, value) in entries where value.expires == 0 || value.expires > now {
            var line = "add \(name) \(text(key))"
            if timeout != nil { line += " timeout \(value.expires == 0 ? 0 : (value.expires - now + 999_999_999) / 1_000_000_000)" }
            if value.isException { line += " nomatch" }
            texts.append((key, line))
        }
        texts.sort { a, b in (a.0.address, a.0.port, a.0.second, a.0.mark, a.1) < (b.0.address, b.0.port, b.0.second, b.0.mark, b.1) }
        for (_, line) in texts { result.append(line) }
        return result
    }

    private func text(_ key: Key) -> String {
        var isSecond = false
        var parts: [String] = []
        for dimension in dimensions {
            switch dimension {
            case .address, .net:
                let bits = isSecond ? key.lengths.second : key.lengths.first
                parts.append(IPv4Address(rawValue: isSecond ? key.second : key.address).description + (bits == 32 ? "" : "/\(bits)"))
                isSecond = true
            case .port:
                let proto = UInt8(truncatingIfNeeded: key.port >> 16)
                let low = key.port & 0xffff
                parts.append(type == "bitmap:port" ? "\(low)" : proto == 1 ? "icmp:\(low >> 8)/\(low & 255)" : "\(RuleParser.protocolName(proto)):\(low)")
            case .interface: parts.append(key.interface)
            case .mark: parts.append("0x" + String(key.mark, radix: 16))
            }
        }
        return parts.joined(separator: ",")
    }
}
