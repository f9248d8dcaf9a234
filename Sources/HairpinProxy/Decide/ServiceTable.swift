import CProcessor
import HairpinWire

/// kube-proxy's decision for one node, compiled: every virtual address and node port in one hash table, endpoints in one flat array. It does not
/// change once it is made; a change of Services makes another, and a change of endpoints another that shares with it what has not changed.
///
/// Complexity: a look-up costs the same for one Service and for ten thousand; choosing among n endpoints is the caller's.
public final class ServiceTable: Sendable {
    public struct Endpoint: Sendable, Hashable {
        public let address: ServiceAddress
        public let port: UInt16
        public let isLocal: Bool
        /// "10.244.0.3:80"
        public var text: String { address.with(port: port) }
    }

    /// One Service port with its choices.
    public struct Entry: Sendable {
        public let rules: ServicePortRules
        /// Positions in `endpoints`: for Cluster policy, and for Local.
        public let cluster: Range<Int>
        public let local: Range<Int>
        /// Usable endpoints are somewhere, if not here.
        public let hasEndpoints: Bool
        /// A stable hash of name and protocol; remembers clients across tables.
        public let identity: UInt64

        public var hasInternalEndpoints: Bool { hasEndpoints && (!rules.isInternalLocal || !local.isEmpty) }
        public var hasExternalEndpoints: Bool { hasEndpoints && (!rules.isExternalLocal || !local.isEmpty) }
        /// What a packet to the ClusterIP may reach.
        public var internalList: Range<Int> { rules.isInternalLocal ? local : cluster }
        public var guardsSources: Bool { !rules.loadBalancerAddresses.isEmpty && !rules.sourceRanges.isEmpty }
    }

    /// What packets need of an entry: plain data, so that asking touches no reference counts.
    public struct Choice: Sendable, Equatable {
        public let identity: UInt64
        let clusterStart: UInt32, clusterEnd: UInt32
        let localStart: UInt32, localEnd: UInt32
        /// Zero without affinity.
        public let affinitySeconds: UInt32
        /// Position in `entries`.
        public let entry: UInt32
        let hasEndpoints: Bool, isInternalLocal: Bool, isExternalLocal: Bool, guardsSources: Bool

        init(_ entry: Entry, number: Int) {
            self.entry = UInt32(number)
            (clusterStart, clusterEnd) = (UInt32(entry.cluster.lowerBound), UInt32(entry.cluster.upperBound))
            (localStart, localEnd) = (UInt32(entry.local.lowerBound), UInt32(entry.local.upperBound))
            (hasEndpoints, isInternalLocal, isExternalLocal) = (entry.hasEndpoints, entry.rules.isInternalLocal, entry.rules.isExternalLocal)
            guardsSources = entry.guardsSources
            affinitySeconds = UInt32(entry.rules.affinitySeconds ?? 0)
            identity = entry.identity
        }
        @inline(__always) var cluster: Range<Int> { Int(clusterStart)..<Int(clusterEnd) }
        @inline(__always) var local: Range<Int> { Int(localStart)..<Int(localEnd) }
        @inline(__always) var hasInternalEndpoints: Bool { hasEndpoints && (!isInternalLocal || localStart < localEnd) }
        @inline(__always) var hasExternalEndpoints: Bool { hasEndpoints && (!isExternalLocal || localStart < localEnd) }
    }

    public let settings: ProxySettings
    public let entries: [Entry]
    let podRanges: [ServicePrefix]
    let isNFT: Bool
    /// What node ports' addresses are held against; nil for those that the mode takes without being told.
    let nodePortRanges: [ServicePrefix]?
    public let endpoints: EndpointList
    /// Ports of type LoadBalancer with policy Local, on which kube-proxy tells whether the node has endpoints.
    let healthCheckPorts: Set<UInt16>
    /// Every ClusterIP.
    let clusterAddresses: Set<ServiceAddress>
    private let frontends: FrontendTable

    /// `services` in the order rules are to be written; of two that claim the same address and port the first has it.
    public convenience init(_ settings: ProxySettings, services: [(rules: ServicePortRules, endpoints: [ProxyEndpoint])]) {
        self.init(settings, count: services.count) { services[$0] }
    }

    private init(_ old: ServiceTable, entries: [Entry], changed: [Int], endpoints: EndpointList) {
        (settings, self.entries, self.endpoints) = (old.settings, entries, endpoints)
        (podRanges, isNFT, nodePortRanges) = (old.podRanges, old.isNFT, old.nodePortRanges)
        (healthCheckPorts, clusterAddresses) = (old.healthCheckPorts, old.clusterAddresses)
        frontends = FrontendTable(old.frontends, changing: changed.map { (entries[$0].rules, Choice(entries[$0], number: $0)) })
    }

    /// The table with other endpoints behind some of its entries, numbered by position in `entries`. What a change leaves behind is cleared away when it
    /// has grown to half of the table.
    ///
    /// Complexity: O(entries + changed endpoints), of which the entries are only copied.
    public func replacing(_ changes: [(entry: Int, endpoints: [ProxyEndpoint])]) -> ServiceTable {
        var entries = entries
        var compiler = Compiler(settings)
        compiler.firstEndpoint = endpoints.count
        for (number, given) in changes {
            let rules = entries[number].rules
            let selection = EndpointSelection(given, rules, settings)
            let cluster = compiler.append(selection.cluster, of: given)
            let local = selection.local == selection.cluster ? cluster : compiler.append(selection.local, of: given)
            entries[number] = Entry(rules: rules, cluster: cluster, local: local, hasEndpoints: selection.hasAny, identity: entries[number].identity)
        }
        let all = endpoints.adding(compiler.endpoints)
        let table = ServiceTable(self, entries: entries, changed: changes.map(\.entry), endpoints: all)
        return all.isMostlyAdded ? table.compacted() : table
    }

    /// As above, for tables so large that their input should not be in memory at once.
    public convenience init(_ settings: ProxySettings, count: Int, make: (Int) -> (rules: ServicePortRules, endpoints: [ProxyEndpoint])) {
        var compiler = Compiler(settings)
        compiler.reserve(count)
        for index in 0..<count {
            let (rules, endpoints) = make(index)
            compiler.add(rules, endpoints)
        }
        self.init(compiler, EndpointList(compiler.endpoints))
    }

    private init(_ compiler: Compiler, _ endpoints: EndpointList) {
        (settings, entries, self.endpoints) = (compiler.settings, compiler.entries, endpoints)
        (podRanges, isNFT, nodePortRanges) = (settings.podRanges, settings.mode == .nftables, settings.nodePortRanges)
        (healthCheckPorts, clusterAddresses) = (compiler.healthCheckPorts, compiler.clusterAddresses)
        frontends = FrontendTable(compiler.frontends)
    }

    /// The table with other Services: those without endpoints in `services` are in this table, by name and protocol, and keep what was chosen for them there.
    ///
    /// Complexity: O(Services + changed endpoints); nothing is chosen or sorted but for those that changed.
    public func replacing(services: [(rules: ServicePortRules, endpoints: [ProxyEndpoint]?)]) -> ServiceTable {
        var known: [UInt64: Int] = [:]
        known.reserveCapacity(entries.count)
        for number in entries.indices { known[entries[number].identity] = number }
        var compiler = Compiler(settings)
        compiler.reserve(services.count)
        compiler.firstEndpoint = endpoints.count
        for (rules, given) in services {
            if let given {
                compiler.add(rules, given)
            } else if let old = known[ServiceTable.identity(rules)] {
                compiler.add(entries[old], as: rules)
            } else {
                preconditionFailure("\(rules.name) is not in the table")
            }
        }
        let all = endpoints.adding(compiler.endpoints)
        return all.isMostlyAdded ? ServiceTable(compiler, all).compacted() : ServiceTable(compiler, all)
    }

    /// Laid out anew, without endpoints that no entry points at.
    private func compacted() -> ServiceTable {
        var (entries, flat) = (entries, [Endpoint]())
        for index in entries.indices {
            let old = entries[index]
            func moved(_ list: Range<Int>) -> Range<Int> {
                let first = flat.count
                for place in list { flat.append(endpoints[place]) }
                return first..<flat.count
            }
            let cluster = moved(old.cluster)
            entries[index] = Entry(
                rules: old.rules, cluster: cluster, local: old.local == old.cluster ? cluster : moved(old.local), hasEndpoints: old.hasEndpoints, identity: old.identity)
        }
        return ServiceTable(self, entries: entries, changed: Array(entries.indices), endpoints: EndpointList(flat))
    }

    /// Those endpoints of an entry that are on the node.
    public func localEndpoints(of entry: Int) -> [Endpoint] { endpoints[entries[entry].cluster].filter(\.isLocal) }

    func frontend(_ address: ServiceAddress, _ port: UInt16, _ proto: UInt8) -> FrontendTable.Frontend? {
        frontends.find(address.high, address.low, port, proto)
    }
    /// Asks for what `translate` will read of an address, long before it does: of a table larger than the caches each line takes as long as a hundred rules.
    public func prefetchFrontend(_ address: ServiceAddress, _ port: UInt16, _ proto: UInt8) { frontends.prefetch(address.high, address.low, port, proto) }
    /// The same for the endpoints, once the address's own line has come: of those that are many, the first.
    public func prefetchEndpoints(_ address: ServiceAddress, _ port: UInt16, _ proto: UInt8) {
        guard let frontend = frontend(address, port, proto) else { return }
        endpoints.prefetch(frontend.choice.isInternalLocal ? frontend.choice.local : frontend.choice.cluster)
    }

    func nodePort(_ port: UInt16, _ proto: UInt8) -> FrontendTable.Frontend? { frontends.find(0, 0, port, proto) }
}

extension ServiceTable {
    private struct Compiler {
        let settings: ProxySettings
        var entries: [Entry] = []
        var endpoints: [Endpoint] = []
        var healthCheckPorts: Set<UInt16> = []
        var clusterAddresses: Set<ServiceAddress> = []
        var frontends: [FrontendTable.Frontend] = []
        /// Where `endpoints` begin among all of the table.
        var firstEndpoint = 0

        init(_ settings: ProxySettings) { self.settings = settings }

        mutating func reserve(_ count: Int) {
            entries.reserveCapacity(count)
            frontends.reserveCapacity(count)
            clusterAddresses.reserveCapacity(count)
        }

        mutating func add(_ rules: ServicePortRules, _ given: [ProxyEndpoint]) {
            let selection = EndpointSelection(given, rules, settings)
            let cluster = append(selection.cluster, of: given)
            let local = selection.local == selection.cluster ? cluster : append(selection.local, of: given)
            append(Entry(rules: rules, cluster: cluster, local: local, hasEndpoints: selection.hasAny, identity: ServiceTable.identity(rules)))
        }

        /// With the endpoints an entry of the table of before has.
        mutating func add(_ old: Entry, as rules: ServicePortRules) {
            append(Entry(rules: rules, cluster: old.cluster, local: old.local, hasEndpoints: old.hasEndpoints, identity: old.identity))
        }

        private mutating func append(_ entry: Entry) {
            let rules = entry.rules
            entries.append(entry)
            clusterAddresses.insert(rules.clusterAddress)
            if rules.healthCheckNodePort != 0 { healthCheckPorts.insert(rules.healthCheckNodePort) }
            let choice = Choice(entry, number: entries.count - 1)
            for claim in rules.claims {
                frontends.append(
                    FrontendTable.Frontend(
                        high: claim.address.high, low: claim.address.low, choice: choice, port: claim.port, proto: rules.proto, kind: claim.kind))
            }
        }

        /// Sorted by their text, as kube-proxy sorts them; each once.
        mutating func append(_ chosen: [Int], of given: [ProxyEndpoint]) -> Range<Int> {
            let first = endpoints.count
            var keys: [(key: UInt128, index: Int)] = []
            keys.reserveCapacity(chosen.count)
            var isSorted = true
            for index in chosen {
                let key = TextOrder.key(given[index].address)
                if let last = keys.last, last.key >= key { isSorted = false }
                keys.append((key, index))
            }
            if !isSorted {
                keys.sort { a, b in
                    if a.key != b.key, a.key != 0, b.key != 0 { return a.key < b.key }
                    let (x, y) = (given[a.index], given[b.index])
                    return x.address.with(port: x.port) < y.address.with(port: y.port)
                }
            }
            for (_, index) in keys {
                let endpoint = Endpoint(address: given[index].address, port: given[index].port, isLocal: given[index].isLocal)
                if !isSorted, endpoints.count > first, let last = endpoints.last, last.address == endpoint.address, last.port == endpoint.port { continue }
                endpoints.append(endpoint)
            }
            return firstEndpoint + first..<firstEndpoint + endpoints.count
        }
    }

    /// FNV-1a.
    private static func identity(_ rules: ServicePortRules) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for text in [rules.namespace, "/", rules.service, ":", rules.portName, rules.protocolName] {
            for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        }
        return hash
    }
}

/// Endpoints in one flat array, and those that changes have added behind it: a table made by a change shares the first with its predecessor.
public struct EndpointList: RandomAccessCollection, Sendable {
    private let base: [ServiceTable.Endpoint]
    private let added: [ServiceTable.Endpoint]

    init(_ base: [ServiceTable.Endpoint], added: [ServiceTable.Endpoint] = []) {
        self.base = base
        self.added = added
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { base.count + added.count }
    public subscript(index: Int) -> ServiceTable.Endpoint { index < base.count ? base[index] : added[index - base.count] }

    /// Asks for the two cache lines at the beginning of a list.
    @inline(__always)
    func prefetch(_ list: Range<Int>) {
        guard let first = list.first, first < base.count else { return }
        base.withUnsafeBufferPointer {
            guard let start = $0.baseAddress else { return }
            hairpin_prefetch(start + first)
            hairpin_prefetch(UnsafeRawPointer(start + first) + 63)
        }
    }

    func adding(_ more: [ServiceTable.Endpoint]) -> EndpointList { EndpointList(base, added: added + more) }
    /// Time to lay it out anew.
    var isMostlyAdded: Bool { added.count > 4096 && added.count > base.count / 2 }
}

/// The order of "10.0.0.10:80" and "10.0.0.9:80" as texts, without making them.
enum TextOrder {
    /// The bytes of the dotted address and its colon, from the highest; zero for IPv6.
    static func key(_ address: ServiceAddress) -> UInt128 {
        guard let ipv4 = address.ipv4 else { return 0 }
        var key: UInt128 = 0
        var free: UInt128 = 128
        func put(_ byte: UInt32) {
            free -= 8
            key |= UInt128(byte) << free
        }
        for shift in [UInt32(24), 16, 8, 0] {
            let part = ipv4.rawValue >> shift & 0xff
            if part >= 100 { put(48 + part / 100) }
            if part >= 10 { put(48 + part / 10 % 10) }
            put(48 + part % 10)
            put(shift == 0 ? 58 : 46)
        }
        return key
    }
}
