import HairpinWire

/// getent(1): `hosts` asks as gethostbyname2(3) does, for AAAA records through the whole search list and then for A; `ahosts` as getaddrinfo(3) does, for both
/// at once. musl has getaddrinfo alone.
final class Getent: Program {
    private let arguments: [String]
    private var names: [String] = []
    private var resolver: Resolver?
    private var reverse: ReverseResolver?
    private var families: [Resolver.Family] = []
    private var isStarted = false
    private var status: Int32 = 0
    init(_ arguments: [String]) { self.arguments = arguments }

    private static let databases = ["hosts", "ahosts", "ahostsv4", "ahostsv6"]

    func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            guard let database = arguments.first else {
                system.writeError("getent: wrong number of arguments\nTry `getent --help' or `getent --usage' for more information.\n")
                return .exit(1)
            }
            guard Getent.databases.contains(database) else {
                system.writeError("Unknown database: \(database)\nTry `getent --help' or `getent --usage' for more information.\n")
                return .exit(1)
            }
            names = Array(arguments.dropFirst())
            if names.isEmpty {
                for (address, aliases) in HostsFile.entries(system) { system.writeOutput(padded(address.description, 15) + " " + aliases.joined(separator: " ") + "\n") }
                return .exit(0)
            }
        }
        while let name = names.first {
            if arguments[0] == "hosts", let address = IPv4Address(name) {
                if reverse == nil { reverse = ReverseResolver(address) }
                switch reverse!.advance(system) {
                case .wait(let set): return .wait(set)
                case .done(let found):
                    if found.isEmpty { status = 2 } else { system.writeOutput(padded(address.description, 15) + " " + found.joined(separator: " ") + "\n") }
                }
                reverse = nil
                names.removeFirst()
                continue
            }
            if resolver == nil {
                if families.isEmpty { families = order(system) }
                resolver = Resolver(name, family: families.removeFirst())
            }
            switch resolver!.advance(system) {
            case .wait(let set): return .wait(set)
            case .failed:
                resolver = nil
                if !families.isEmpty { continue }
                status = 2
            case .done(let addresses): show(name, addresses, resolver!, system)
            }
            resolver = nil
            families = []
            names.removeFirst()
        }
        return .exit(status)
    }

    private func order(_ system: any SystemCalls) -> [Resolver.Family] {
        switch arguments[0] {
        case "hosts": ResolverConfiguration.load(system).library == .musl ? [.both] : [.ipv6, .ipv4]
        case "ahostsv4": [.ipv4]
        case "ahostsv6": [.ipv6]
        default: [.both]
        }
    }

    private func show(_ name: String, _ addresses: [IPv4Address], _ resolver: Resolver, _ system: any SystemCalls) {
        let found = resolver.canonicalName ?? HostsFile.names(of: addresses[0], system).joined(separator: " ")
        let shown = found.isEmpty ? name : found
        for (number, address) in addresses.enumerated() {
            let column = padded(address.description, 15)
            if arguments[0] == "hosts" {
                system.writeOutput("\(column) \(shown)\n")
            } else {
                // The canonical name stands in the first line only.
                system.writeOutput("\(column) STREAM \(number == 0 ? shown : "")\n\(column) DGRAM  \n\(column) RAW    \n")
            }
        }
    }
}
