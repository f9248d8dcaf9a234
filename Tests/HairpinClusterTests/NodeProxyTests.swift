import HairpinEngine
import HairpinTopology
import HairpinWire
import Testing

@testable import HairpinCluster
@testable import HairpinProxy

/// What endpoint controller, kube-proxy and DNS make of one change after the other is what they would make of the cluster as it is.
@Suite struct NodeProxyTests {
    /// A cluster that lives: pods come, go and change, and so do Services.
    private struct Life {
        var plan: ClusterPlan
        var ready: Set<ObjectKey> = []
        var terminating: Set<ObjectKey> = []
        var finished: Set<ObjectKey>
        /// Services to be added.
        var spares: [PlannedService] = []
        var random: SeededRandom

        init(_ plan: ClusterPlan, seed: UInt64) {
            self.plan = plan
            random = SeededRandom(seed: seed, name: "life")
            finished = Set(plan.pods.filter { $0.metadata.name.hasPrefix("spare") }.map(\.key))
        }

        mutating func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

        /// Changes something; the Services that were made, changed or deleted.
        mutating func step() -> Set<ObjectKey> {
            let pod = below(plan.pods.count)
            let key = plan.pods[pod].key
            switch below(10) {
            case 0, 1, 2: if ready.remove(key) == nil { ready.insert(key) }
            case 3: if terminating.remove(key) == nil { terminating.insert(key) }
            // Scaled down, or up.
            case 4: if finished.remove(key) == nil { finished.insert(key) }
            case 5: plan.pods[pod].metadata.labels["app"] = "app-\(below(8))"
            case 6:
                for _ in 0..<20 { ready.insert(plan.pods[below(plan.pods.count)].key) }
            case 7:
                guard plan.services.count > 4 else { return [] }
                let gone = plan.services.remove(at: below(plan.services.count))
                spares.append(gone)
                return [gone.key]
            case 8:
                guard let new = spares.popLast() else { return [] }
                plan.services.insert(new, at: below(plan.services.count + 1))
                return [new.key]
            default:
                let place = below(plan.services.count)
                switch below(4) {
                case 0: plan.services[place].service.internalTrafficPolicy = plan.services[place].service.internalTrafficPolicy == .local ? .cluster : .local
                case 1: plan.services[place].service.externalTrafficPolicy = plan.services[place].service.externalTrafficPolicy == .local ? .cluster : .local
                case 2: plan.services[place].service.affinitySeconds = plan.services[place].service.affinitySeconds == nil ? 60 : nil
                default: plan.services[place].service.publishNotReadyAddresses.toggle()
                }
                return [plan.services[place].key]
            }
            return []
        }

        func state(_ pod: PlannedPod) -> EndpointController.PodState {
            .init(isListed: !finished.contains(pod.key), isReady: ready.contains(pod.key), isTerminating: terminating.contains(pod.key))
        }
        var slices: [EndpointSlice] { plan.endpointSlices(readyPods: ready, terminating: terminating, finished: finished) }
    }

    private static func cluster(_ mode: ClusterConfiguration.ProxyMode) throws -> ClusterPlan {
        var configuration = ClusterConfiguration(nodes: (1...3).map { .init(name: "node\($0)", address: IPv4Address(192, 168, 50, UInt8(10 + $0))) })
        (configuration.proxyMode, configuration.hasDNS) = (mode, false)
        var text = ""
        for number in 0..<40 { text += pod("\(number < 30 ? "pod" : "spare")-\(number)", labels: "{app: app-\(number % 8), tier: t\(number % 2)}") }
        for number in 0..<30 {
            let selector = number % 3 == 0 ? "{app: app-\(number % 8), tier: t\(number % 2)}" : "{app: app-\(number % 8)}"
            let kind: String =
                switch number % 6 {
                case 0: "type: NodePort, externalTrafficPolicy: \(number % 4 == 0 ? "Local" : "Cluster"), "
                case 1: "type: LoadBalancer, loadBalancerIP: 203.0.113.\(number + 1), loadBalancerSourceRanges: [198.51.100.0/24], "
                case 2: "clusterIP: None, "
                case 3: "sessionAffinity: ClientIP, externalIPs: [198.51.100.\(number + 1)], "
                case 4: "internalTrafficPolicy: Local, "
                default: "trafficDistribution: PreferSameNode, "
                }
            text += service("svc-\(number)", "\(kind)selector: \(selector), ports: [{name: a, port: 80}, {name: b, port: 53, protocol: UDP, targetPort: 5353}]")
        }
        return try plan(text, configuration)
    }

    /// Everything a table is asked: each entry, how it is found, and each listing.
    private func expectSame(_ table: ServiceTable, _ fresh: ServiceTable, _ comment: Comment) {
        #expect(table.entries.map(\.rules.name) == fresh.entries.map(\.rules.name), comment)
        for (one, other) in zip(table.entries, fresh.entries) {
            #expect(Array(table.endpoints[one.cluster]) == Array(fresh.endpoints[other.cluster]), comment)
            #expect(Array(table.endpoints[one.local]) == Array(fresh.endpoints[other.local]), comment)
            #expect(one.hasEndpoints == other.hasEndpoints && one.identity == other.identity, comment)
            for claim in one.rules.claims {
                let isNodePort = claim.kind == .nodePort
                let found = isNodePort ? table.nodePort(claim.port, one.rules.proto) : table.frontend(claim.address, claim.port, one.rules.proto)
                let expected = isNodePort ? fresh.nodePort(claim.port, one.rules.proto) : fresh.frontend(claim.address, claim.port, one.rules.proto)
                #expect(found?.kind == expected?.kind && found?.entry == expected?.entry, comment)
                // What packets are told is what the entry says, wherever a change has put its endpoints.
                if let choice = found?.choice { #expect(choice == ServiceTable.Choice(table.entries[Int(choice.entry)], number: Int(choice.entry)), comment) }
            }
        }
        #expect(table.serviceRules().lines() == fresh.serviceRules().lines(), comment)
        #expect(table.nftObjects().map { "\($0)" } == fresh.nftObjects().map { "\($0)" }, comment)
        #expect(table.ipsets() == fresh.ipsets(), comment)
        #expect(table.healthCheckPorts == fresh.healthCheckPorts && table.clusterAddresses == fresh.clusterAddresses, comment)
    }

    @Test("Any sequence of changes leaves what a table compiled afresh holds", arguments: [ClusterConfiguration.ProxyMode.iptables, .nftables, .ipvs])
    func sequences(mode: ClusterConfiguration.ProxyMode) throws {
        for seed in UInt64(1)...2 {
            var life = Life(try Self.cluster(mode), seed: seed)
            var controller = EndpointController()
            var proxies = life.plan.nodes.map { NodeProxy(node: $0) }
            var rules = [[String]](repeating: [], count: proxies.count)
            var servers = [[VirtualServerDescription]](repeating: [], count: proxies.count)
            for step in 0..<30 {
                let services = step == 0 ? [] : life.step()
                let comment: Comment = "seed \(seed), step \(step), \(mode)"
                let changed = controller.follow(life.plan, services: services, state: life.state)
                let slices = life.slices
                #expect(controller.slices(in: life.plan) == slices, comment)
                for index in proxies.indices {
                    let update = proxies[index].sync(life.plan, changed: changed, services: services, slices: controller.slices(of:))
                    let node = proxies[index].node
                    let fresh = life.plan.serviceTable(node: node, endpoints: slices)
                    expectSame(update.table, fresh, comment)
                    if let written = update.rules { rules[index] = written }
                    #expect(rules[index] == life.plan.baseRules(node: node, fresh), comment)
                    switch update.virtualServers {
                    case .unchanged: break
                    case .all(let all): servers[index] = all
                    case .changed(let some):
                        for one in some {
                            let place = servers[index].firstIndex { $0.address == one.address && $0.port == one.port && $0.proto == one.proto }
                            servers[index][try #require(place)] = one
                        }
                    }
                    #expect(servers[index] == life.plan.virtualServers(node: node, fresh), comment)
                }
            }
        }
    }

    @Test("A pod that changes touches the Services that select it, and no others")
    func touches() throws {
        var life = Life(try Self.cluster(.iptables), seed: 1)
        var controller = EndpointController()
        var proxy = NodeProxy(node: life.plan.nodes[0])
        let all = controller.follow(life.plan, state: life.state)
        #expect(all.count == life.plan.services.count)
        _ = proxy.sync(life.plan, changed: all, slices: controller.slices(of:))
        #expect(controller.follow(life.plan, state: life.state).isEmpty)
        let pod = life.plan.pods[3]
        life.ready.insert(pod.key)
        let changed = controller.follow(life.plan, state: life.state)
        let selecting = life.plan.services.filter { !$0.service.selector.isEmpty && LabelSelector(matchLabels: $0.service.selector).matches(pod.labels) }.map(\.key)
        #expect(changed == Set(selecting) && changed.count < 10)
        var asked: Set<ObjectKey> = []
        let update = proxy.sync(life.plan, changed: changed) { key in
            asked.insert(key)
            return controller.slices(of: key)
        }
        #expect(asked.isSubset(of: changed))
        #expect(update.rules == nil)
    }

    @Test("Names follow endpoints as if the board had been written anew")
    func names() throws {
        var life = Life(try Self.cluster(.iptables), seed: 4)
        var controller = EndpointController()
        controller.follow(life.plan, state: life.state)
        var board = life.plan.names(endpoints: [])
        board.update(life.plan, changed: Set(life.plan.services.map(\.key)), slices: controller.slices(of:))
        for _ in 0..<20 {
            let before = life.plan.services
            var services = life.step()
            // Services stay: the board follows endpoints.
            if life.plan.services.count != before.count { (life.plan.services, services) = (before, []) }
            board.update(life.plan, changed: controller.follow(life.plan, services: services, state: life.state), slices: controller.slices(of:))
            let fresh = life.plan.names(endpoints: life.slices)
            for service in life.plan.services {
                let name = "\(service.name).default.svc.cluster.local"
                for type in [ClusterNames.RecordType.a, .srv] { #expect(board.answer(name, type) == fresh.answer(name, type)) }
            }
            for pod in life.plan.pods {
                let octets = try #require(pod.address).description.split(separator: ".").reversed().joined(separator: ".")
                #expect(board.answer("\(octets).in-addr.arpa", .ptr) == fresh.answer("\(octets).in-addr.arpa", .ptr))
            }
        }
    }
}
