import HairpinEngine
import HairpinWire

/// conntrack(8) 1.4.7: `-L`, `-G`, `-D`, `-F`, `-E`, `-C`, `-S` on the connections of the namespace.
final class Conntrack: Program {
    private let arguments: [String]
    private var selection = ConntrackSelection()
    private var isStarted = false
    private var shown = 0
    /// How often `-E` looks for news. Their times are those at which things happened.
    private static let look = Duration.milliseconds(10)

    init(_ arguments: [String]) { self.arguments = arguments }

    func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            do throws(ConfigurationError) { selection = try ConntrackSelection(arguments) } catch {
                system.writeError(error.message)
                return .exit(error.status)
            }
        }
        switch selection.command {
        case .list: return list(system)
        case .get: return get(system)
        case .delete: return delete(system)
        case .flush:
            _ = system.removeConnections { _ in true }
            return say("connection tracking table has been emptied.", system)
        case .count:
            system.writeOutput("\(system.connections().count)\n")
            return .exit(0)
        case .statistics:
            system.writeOutput(Conntrack.text(system.connectionStatistics()))
            return .exit(0)
        case .events: return watch(system)
        }
    }

    private func say(_ text: String, status: Int32 = 0, _ system: any SystemCalls) -> Suspension {
        system.writeError("conntrack v1.4.7 (conntrack-tools): \(text)\n")
        return .exit(status)
    }

    private func line(_ record: ConnectionRecord, isEvent: Bool = false) -> String {
        record.line(isExtended: selection.isExtended, isEvent: isEvent) + (selection.showsIdentifier ? " id=\(record.identifier)" : "")
    }

    private func list(_ system: any SystemCalls) -> Suspension {
        for record in system.connections() where selection.matches(record) {
            system.writeOutput(line(record) + "\n")
            shown += 1
        }
        return say("\(shown) flow entries have been shown.", system)
    }

    private func get(_ system: any SystemCalls) -> Suspension {
        guard let record = system.connections().first(where: { selection.matches($0) }) else {
            return say("Operation failed: such conntrack doesn't exist", status: 1, system)
        }
        system.writeOutput(line(record) + "\n")
        return say("1 flow entries have been shown.", system)
    }

    private func delete(_ system: any SystemCalls) -> Suspension {
        let selection = selection
        for record in system.removeConnections({ selection.matches($0) }) {
            system.writeOutput(line(record) + "\n")
            shown += 1
        }
        return say("\(shown) flow entries have been deleted.", status: shown == 0 ? 1 : 0, system)
    }

    private func watch(_ system: any SystemCalls) -> Suspension {
        var text = ""
        for event in system.connectionEvents() where selection.events.contains(event.kind) && selection.matches(event.record) {
            if selection.showsTime {
                let microseconds = VirtualEpoch.unixSeconds * 1_000_000 + event.nanoseconds / 1000
                text += "[\(microseconds / 1_000_000).\(leftPadded(Int(microseconds % 1_000_000), 6, with: "0"))]\t"
            }
            let name = "[\(event.kind.rawValue)]"
            text += String(repeating: " ", count: 9 - name.utf8.count) + name + " " + line(event.record, isEvent: true) + "\n"
        }
        if !text.isEmpty { system.writeOutput(text) }
        return .wait(WaitSet(deadline: system.now + Conntrack.look))
    }

    private static func text(_ s: ConnectionStatistics) -> String {
        let values: [(String, UInt64)] = [
            ("found", s.found), ("invalid", s.invalid), ("insert", s.insert), ("insert_failed", s.insertFailed), ("drop", s.drop), ("early_drop", s.earlyDrop),
            ("error", s.error), ("search_restart", s.searchRestart), ("clash_resolve", s.clashResolve), ("chaintoolong", s.chainTooLong),
        ]
        return "cpu=0   \t" + values.map { "\($0)=\($1) " }.joined() + "\n"
    }
}

/// The command and the filter of a call of conntrack(8).
struct ConntrackSelection {
    enum Command { case list, get, delete, flush, events, count, statistics }
    var command = Command.list
    var isExtended = false, showsTime = false, showsIdentifier = false
    var events: Set<ConnectionEvent.Kind> = [.new, .update, .destroy]
    private var proto: UInt8?
    private var state: String?
    private var mark: UInt32?
    /// Of `-u`: ASSURED, SEEN_REPLY, UNSET.
    private var status: Set<String> = []
    private var translation: Translation?
    private var prefixes: [(place: Place, prefix: IPv4Prefix)] = []
    private var ports: [(place: Place, port: UInt16)] = []

    private enum Translation { case source, destination, any }
    private enum Place { case originalSource, originalDestination, replySource, replyDestination }

    init() {}

    init(_ arguments: [String]) throws(ConfigurationError) {
        var found: Command?
        var words: [String] = []
        for word in arguments {
            // --option=value, and -ptcp.
            if word.hasPrefix("--"), let equals = word.firstIndex(of: "=") {
                words += [String(word[..<equals]), String(word[word.index(after: equals)...])]
            } else if !word.hasPrefix("--"), word.hasPrefix("-"), word.utf8.count > 2, "psdrqmouetfw".contains(word.dropFirst().first!) {
                words += [String(word.prefix(2)), String(word.dropFirst(2))]
            } else {
                words.append(word)
            }
        }
        var rest = words[...]
        func value(_ option: String) throws(ConfigurationError) -> String {
            guard let text = rest.popFirst() else { throw ConntrackSelection.error("option `\(option)' requires an argument") }
            return text
        }
        while let word = rest.popFirst() {
            let command: Command? =
                switch word {
                case "-L", "--dump": .list
                case "-G", "--get": .get
                case "-D", "--delete": .delete
                case "-F", "--flush": .flush
                case "-E", "--event": .events
                case "-C", "--count": .count
                case "-S", "--stats": .statistics
                default: nil
                }
            if let command {
                guard found == nil else { throw ConntrackSelection.error("Can't use -\(word) with another command") }
                found = command
                continue
            }
            switch word {
            case "conntrack", "-f", "--family":
                // The table's name, and the family: there is IPv4 alone.
                if word != "conntrack" { _ = try value(word) }
            case "-p", "--proto", "--protonum": proto = try ConntrackSelection.proto(try value(word))
            case "-s", "--src", "--orig-src": prefixes.append((.originalSource, try ConntrackSelection.prefix(try value(word))))
            case "-d", "--dst", "--orig-dst": prefixes.append((.originalDestination, try ConntrackSelection.prefix(try value(word))))
            case "-r", "--reply-src": prefixes.append((.replySource, try ConntrackSelection.prefix(try value(word))))
            case "-q", "--reply-dst": prefixes.append((.replyDestination, try ConntrackSelection.prefix(try value(word))))
            case "--sport", "--orig-port-src": ports.append((.originalSource, try ConntrackSelection.port(try value(word))))
            case "--dport", "--orig-port-dst": ports.append((.originalDestination, try ConntrackSelection.port(try value(word))))
            case "--reply-port-src": ports.append((.replySource, try ConntrackSelection.port(try value(word))))
            case "--reply-port-dst": ports.append((.replyDestination, try ConntrackSelection.port(try value(word))))
            case "--state": state = try value(word).uppercased()
            case "-m", "--mark": mark = try ConntrackSelection.number(try value(word))
            case "-u", "--status": status = Set(try value(word).uppercased().split(separator: ",").map(String.init))
            case "-n", "--src-nat": translation = .source
            case "-g", "--dst-nat": translation = .destination
            case "-j", "--any-nat": translation = .any
            case "-o", "--output":
                for option in try value(word).split(separator: ",") {
                    switch option {
                    case "extended": isExtended = true
                    case "timestamp", "ktimestamp": showsTime = true
                    case "id": showsIdentifier = true
                    default: throw ConntrackSelection.error("`\(option)': unknown output type, or one that is not modelled")
                    }
                }
            case "-e", "--event-mask":
                events = []
                for name in try value(word).uppercased().split(separator: ",") {
                    switch name {
                    case "ALL": events = [.new, .update, .destroy]
                    case "NEW": events.insert(.new)
                    case "UPDATES", "UPDATE": events.insert(.update)
                    case "DESTROY": events.insert(.destroy)
                    default: throw ConntrackSelection.error("Bad parameter `\(name)'")
                    }
                }
            default: throw ConntrackSelection.error(word.hasPrefix("-") ? "unknown option `\(word)'" : "unknown argument `\(word)'")
            }
        }
        guard let found else { throw ConntrackSelection.error("you must specify an operation") }
        command = found
    }

    private static func error(_ text: String) -> ConfigurationError {
        ConfigurationError("conntrack v1.4.7 (conntrack-tools): \(text)\nTry `conntrack -h' or 'conntrack --help' for more information.\n", status: 2)
    }
    private static func proto(_ text: String) throws(ConfigurationError) -> UInt8 {
        if let known = ConnectionRecord.protocolNames.first(where: { $0.name == text.lowercased() }) { return known.number }
        guard let number = UInt8(text) else { throw error("`\(text)' unsupported protocol") }
        return number
    }
    private static func prefix(_ text: String) throws(ConfigurationError) -> IPv4Prefix {
        if let address = IPv4Address(text) { return IPv4Prefix(address, length: 32) }
        guard text.contains("/"), let prefix = IPv4Prefix(text) else { throw error("Invalid IP address `\(text)'") }
        return prefix
    }
    private static func port(_ text: String) throws(ConfigurationError) -> UInt16 {
        guard let number = UInt16(text) else { throw error("`\(text)' is not a valid port number") }
        return number
    }
    /// Decimal or, behind 0x, hexadecimal.
    private static func number(_ text: String) throws(ConfigurationError) -> UInt32 {
        guard let number = text.hasPrefix("0x") ? UInt32(text.dropFirst(2), radix: 16) : UInt32(text) else { throw error("Bad parameter `\(text)'") }
        return number
    }

    func matches(_ record: ConnectionRecord) -> Bool {
        if let proto, record.proto.rawValue != proto { return false }
        if let state, record.state != state { return false }
        if let mark, record.mark != mark { return false }
        if status.contains("ASSURED"), !record.isAssured { return false }
        if status.contains("SEEN_REPLY"), !record.isAnswered { return false }
        if status.contains("UNSET"), record.isAnswered || record.isAssured { return false }
        for (place, prefix) in prefixes where !prefix.contains(ConntrackSelection.address(record, place)) { return false }
        for (place, port) in ports {
            guard record.proto.rawValue != 1, ConntrackSelection.port(record, place) == port else { return false }
        }
        if let translation {
            // What answers would come from and go to if nothing were translated.
            let isSource = record.reply.destination != record.original.source || record.proto.rawValue != 1 && record.reply.destinationPort != record.original.sourcePort
            let isDestination =
                record.reply.source != record.original.destination || record.proto.rawValue != 1 && record.reply.sourcePort != record.original.destinationPort
            switch translation {
            case .source: return isSource
            case .destination: return isDestination
            case .any: return isSource || isDestination
            }
        }
        return true
    }

    private static func address(_ record: ConnectionRecord, _ place: Place) -> IPv4Address {
        switch place {
        case .originalSource: record.original.source
        case .originalDestination: record.original.destination
        case .replySource: record.reply.source
        case .replyDestination: record.reply.destination
        }
    }
    private static func port(_ record: ConnectionRecord, _ place: Place) -> UInt16 {
        switch place {
        case .originalSource: record.original.sourcePort
        case .originalDestination: record.original.destinationPort
        case .replySource: record.reply.sourcePort
        case .replyDestination: record.reply.destinationPort
        }
    }
}
