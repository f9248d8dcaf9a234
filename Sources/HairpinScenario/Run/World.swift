import HairpinCluster
import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinPolicy
import HairpinPrograms
import HairpinProxy
import HairpinTopology
import HairpinWire
import Logging

/// A booted cluster: the plan, the simulation it runs in, and the kubelets and controllers that live beside the frames.
///
/// The control plane has no packets of its own. It looks at the containers at fixed virtual times (`tick`), and what it does depends on nothing
/// but the seed and the manifests.
final class World {
    let scenario: Scenario
    var plan: ClusterPlan
    /// The plan with all that steps will apply, for what is looked up before they do.
    let foreseen: ClusterPlan
    let topology: Topology
    let simulation: Simulation
    let pods: [PodLife]
    /// The EndpointSlice controller; kube-proxy and the cluster's DNS know what it said when they last looked.
    private var controller = EndpointController()
    /// Services it has written since then.
    private var changedServices: Set<ObjectKey> = []
    /// Services that were made, changed or deleted: what the endpoint controller, and kube-proxy, has yet to hear of.
    private var newServices: Set<ObjectKey> = []
    private var unheardServices: Set<ObjectKey> = []
    /// Names of the cluster are to be made anew.
    private var hasNewNames = false
    /// kube-proxy's, of every node.
    private var proxies: [NodeProxy]
    private var frontends = DatagramFrontends()
    /// What `kubectl get endpointslices` shows.
    var endpoints: [EndpointSlice] { hasEndpoints ? controller.slices(in: plan) : [] }
    private var hasEndpoints = false
    private(set) var warnings: [String] = []
    /// The same, to say each once.
    private var warned: Set<String> = []
    let log: Logger
    private let names: NameBoard
    private let healthChecks = HealthChecks()
    /// Files of nodes and outside hosts.
    private var machineFiles: [String: ContainerID] = [:]
    private var rulesDue: Instant? = ScenarioTiming.rules
    /// When the endpoint controller next writes what has changed, where it takes time.
    private var slicesDue: Instant?
    /// When kube-proxy looks again at servers of IPVS that have left and still have connections.
    private var terminationsDue: Instant?
    private var isPublished = false
    /// When IPVS's rates are next estimated; a time of the control plane's looks.
    private var ratesDue = Instant.zero
    /// Of workloads that steps restart or scale.
    var controllers: [any WorkloadController] = []
    /// Clients whose losses are looked into.
    var loads: [RequestWatch] = []
    private var toldImages: Set<String> = []
    /// When the nodes' policy agents next follow a change; they start with the nodes.
    private var policiesDue: Instant? = .zero
    private var hasPolicies = false

    /// How often the kubelets look at their containers.
    private static let tick = Duration.milliseconds(50)

    init(_ loaded: LoadedScenario, seed: UInt64, threads: Int = 1, sharing: SimulationConfiguration.Sharing = .worthwhile, log: Logger) throws(Failure) {
        scenario = loaded.scenario
        self.log = log
        do {
            plan = try ClusterPlanner.plan(loaded.manifests, configuration: loaded.scenario.configuration)
            // Whose pods steps delete is known when pods have names.
            if let stories = loaded.scenario.stories(in: plan) {
                var configuration = plan.configuration
                configuration.stories = stories
                plan = try ClusterPlanner.plan(loaded.manifests, configuration: configuration)
            }
        } catch { throw Failure(error) }
        var configuration = SimulationConfiguration()
        configuration.seed = seed
        configuration.threads = threads
        configuration.sharing = sharing
        topology = plan.topology()
        do { simulation = try Simulation(topology, configuration: configuration) } catch {
            throw Failure(.internalFault, "the cluster's plan is no network: \(error)")
        }
        var everything = plan
        for step in loaded.scenario.steps { if case .change(.applyObjects(let objects))? = step.change { everything.foresee(objects) } }
        foreseen = everything
        for step in loaded.scenario.steps {
            guard case .change(let change)? = step.change, change.workload != nil else { continue }
            var rehearsal = everything
            do { _ = try rehearsal.apply(change) } catch { throw Failure(.input, "\(step.position): \(step.id): \(error)", hint: error.hint) }
        }
        pods = plan.pods.map(PodLife.init)
        for workload in plan.workloads where workload.isMadeInOrder {
            for pod in workload.pods.dropFirst().compactMap(plan.pod) { pods[pod.index].holdBack() }
        }
        proxies = plan.nodes.map { NodeProxy(node: $0) }
        var outside: [String: IPv4Address] = [:]
        for host in loaded.scenario.hosts { for name in host.names { outside[name.lowercased()] = host.address } }
        let upstream = loaded.scenario.cluster.resolver.nameservers.compactMap { IPv4Address($0) }
        names = NameBoard(plan.names(endpoints: []), outside: outside, upstream: upstream)
        for pod in pods where pod.phase == .absent { plug(pod, false) }
        if let cost = loaded.scenario.cluster.linearRules { for node in plan.nodes { simulation.setRuleCost(cost, on: node.name) } }
        for warning in plan.warnings { warn(warning.description) }
        for node in plan.nodes { addMachine(node.name, ClusterPlan.hostsFile(name: node.name, address: node.address)) }
        for host in loaded.scenario.hosts { addMachine(host.name, ClusterPlan.hostsFile(name: host.name, address: host.address)) }
        // A host at the address of a name server is one.
        for host in loaded.scenario.hosts where upstream.contains(host.address) {
            if let files = machineFiles[host.name] { simulation.spawn(on: host.name, DNSServer(UpstreamNames(names)), arguments: ["unbound"], in: files) }
        }
        for node in loaded.scenario.cluster.nodes { if let rules = node.rules { try load(rules, on: node.name) } }
        for pod in pods where pod.phase == .present { warnIfPending(pod) }
        controllers = makeControllers()
        healthChecks.follow(plan.nodes)
    }

    /// One that a step makes is told with the others of its owner, once.
    func warnIfPending(_ pod: PodLife) {
        switch pod.pod.placement {
        case .scheduled: break
        case .withoutAddress(_, let message), .unschedulable(let message):
            let owner = pod.pod.isSpare ? pod.pod.metadata.owner.map { "pods of \($0.kind) \(pod.pod.metadata.namespace)/\($0.name) stay" } : nil
            warn("\(owner ?? "pod \(pod.pod.key) stays") Pending: \(message)")
        }
    }

    private func addMachine(_ name: String, _ hosts: String) {
        machineFiles[name] = simulation.makeContainer(
            name: name, files: ["/etc/hosts": Array(hosts.utf8), "/etc/hostname": Array("\(name)\n".utf8), "/etc/resolv.conf": Array(plan.configuration.nodeResolver.text.utf8)])
    }

    /// Nodes with rules of a real node, by name; nobody else writes there.
    private(set) var nodeRules: [String: NodeRules] = [:]

    private func load(_ rules: NodeRules, on node: String) throws(Failure) {
        guard simulation.hasHost(node) else { return }
        var set = RuleSet()
        do throws(RuleError) { try set.sets.restore(rules.setLines) } catch { throw World.failure(error, in: rules.setsFile) }
        let unknown: RuleSet.Unknown =
            switch rules.unknown {
            case .refuse: .refuse
            case .skip: .skip
            case .match: .match
            }
        var file = rules.file
        if !file.isEmpty { try World.checkWhole(rules) }
        let dump = rules.nftFile.isEmpty ? nil : try World.parse(rules)
        do throws(RuleError) {
            if !file.isEmpty { try set.restore(rules.lines, unknown: unknown) }
            if let dump {
                file = rules.nftFile
                try set.read(nftables: dump, omitsIPTables: !rules.file.isEmpty, unknown: unknown)
            }
        } catch {
            let fix = error.isUnknown ? "Write \"unknownRules: skip\" (or --unknown skip) to leave such rules out, \"match\" to take what is unknown to hold" : nil
            throw World.failure(error, in: file, hint: fix)
        }
        for note in set.skipped + set.assumed {
            let place = note.line > 0 ? "\(rules.file):\(note.line)" : rules.nftFile
            warn("\(place): \(note.reason)\(rules.unknown == .skip ? "; the rule is left out" : ""): \(note.text)")
        }
        simulation.setRules(set, on: node)
        simulation.setServices(nil, on: node)
        nodeRules[node] = rules
    }

    /// A dump that was cut off on its way here would answer wrongly.
    private static func checkWhole(_ rules: NodeRules) throws(Failure) {
        var open: String?
        var tables = 0
        for line in rules.lines {
            if line.hasPrefix("*") {
                open = line
                tables += 1
            } else if line.hasPrefix("COMMIT") {
                open = nil
            }
        }
        if tables == 0 { throw Failure(.input, "\(rules.file): there is no table in it", hint: "Give the whole output of iptables-save") }
        if let open { throw Failure(.input, "\(rules.file):\(rules.lines.count): COMMIT expected: the file ends within \(open)", hint: "Give the whole output of iptables-save") }
    }

    private static func parse(_ rules: NodeRules) throws(Failure) -> JSON {
        do throws(JSON.Problem) { return try JSON(parsing: Array(rules.nft.utf8)) } catch {
            let what = error.isCutOff ? "the file ends within a JSON value" : "this is not JSON"
            throw Failure(.input, "\(rules.nftFile):\(error.line):\(error.column): \(what)", hint: "Give the whole output of nft -j list ruleset")
        }
    }

    private static func failure(_ error: RuleError, in file: String, hint: String? = nil) -> Failure {
        Failure(.input, "\(file)\(error.line > 0 ? ":\(error.line)" : ""): \(error.reason): \(error.text)", hint: hint)
    }

    func warn(_ text: String) {
        guard warned.insert(text).inserted else { return }
        warnings.append(text)
        log.warning("\(text)")
    }

    var summary: ClusterResult {
        ClusterResult(
            nodes: plan.nodes.count, pods: pods.count { $0.phase == .absent ? !$0.pod.isSpare : $0.phase != .gone }, readyPods: pods.count(where: \.isReady), services: plan.services.count,
            cni: scenario.cluster.cni, proxyMode: scenario.cluster.proxyMode.rawValue)
    }
    var readyPods: Set<ObjectKey> { Set(pods.filter(\.isReady).map(\.pod.key)) }
    func life(of key: ObjectKey) -> PodLife? { plan.pod(key).map { pods[$0.index] } }

    // MARK: Time

    /// Runs the cluster up to and including `target`, or until `condition`, looked at between events, turns false.
    func advance(to target: Instant, while condition: () -> Bool) {
        while condition() {
            control()
            let now = simulation.now
            if now >= target { return }
            simulation.run(until: min(target, nextControl(after: now)), while: condition)
        }
    }

    /// Boots until a person would begin to work: to the time of a scenario's first step, then on until every pod is ready, has finished or keeps
    /// crashing, or patience ends.
    func settle(isInterrupted: () -> Bool) {
        var count: UInt = 0
        func goesOn() -> Bool {
            count &+= 1
            return count & 0x3ff != 0 || !isInterrupted()
        }
        advance(to: ScenarioTiming.firstStep, while: goesOn)
        while !isInterrupted(), simulation.now < ScenarioTiming.patience, !(pods.allSatisfy(\.isSettled) && controllers.allSatisfy(isWaitedFor)) {
            advance(to: simulation.now + .milliseconds(100), while: goesOn)
        }
        // kube-proxy and the policy agents follow the last change.
        if rulesDue != nil || slicesDue != nil || policiesDue != nil {
            advance(to: simulation.now + max(ScenarioTiming.ruleLag, scenario.cluster.endpointsDelay + scenario.cluster.kubeProxyDelay), while: goesOn)
        }
    }

    /// Nothing more comes of a controller that has done its work, or is held up by a pod that will not be ready.
    private func isWaitedFor(_ controller: any WorkloadController) -> Bool { controller.isSettled || controller.pods.contains { $0.isSettled && !$0.isReady } }

    /// The control plane's next look: the next tick, or earlier where something is due.
    private func nextControl(after now: Instant) -> Instant {
        let step = UInt64(World.tick.nanoseconds)
        var next = Instant(nanoseconds: (now.nanoseconds / step + 1) * step)
        for due in [rulesDue, slicesDue, policiesDue, terminationsDue] { if let due, due > now { next = min(next, due) } }
        for pod in pods where pod.isOnNode {
            if let due = pod.nextEnd, due > now { next = min(next, due) }
            for container in pod.containers {
                for due in [container.restartDue, container.nextProbe] { if let due, due > now { next = min(next, due) } }
            }
        }
        return next
    }

    private func control() {
        let now = simulation.now
        var changed = false
        for pod in pods where pod.isOnNode {
            for container in pod.containers where container.noticeExit(restart: pod.pod.template.restartPolicy) {
                if let identifier = container.identifier { simulation.endProcesses(in: identifier) }
                changed = true
                tellEnd(of: container, in: pod)
            }
            for container in pod.startable(at: now) {
                start(container, in: pod)
                changed = true
            }
            for container in pod.containers {
                let probed = container.probe(now: now, prober(of: container, in: pod))
                changed = changed || probed
            }
            if pod.windDown(at: now, run: { self.start($0, on: CommandTarget(host: pod.pod.hostName, pod: pod, container: $1), observer: nil) }) {
                changed = true
                if pod.phase == .gone {
                    plug(pod, false)
                    log.info("\(now) \(pod.pod.key) is gone")
                }
            }
        }
        if reconcile(at: now) { changed = true }
        if changed { endpointsChanged(at: now) }
        if let due = slicesDue, due <= now {
            slicesDue = nil
            followPods()
            isPublished = true
            queueRules(at: now)
        }
        if let due = rulesDue, due <= now {
            rulesDue = nil
            writeRules()
        }
        if let due = policiesDue, due <= now {
            policiesDue = nil
            writePolicies()
        }
        if scenario.cluster.proxyMode == .ipvs, now >= ratesDue {
            ratesDue = now + ScenarioTiming.rates
            for node in plan.nodes where simulation.hasHost(node.name) { simulation.estimateVirtualServerRates(on: node.name) }
        }
        if let due = terminationsDue, due <= now {
            terminationsDue = nil
            for node in plan.nodes where simulation.hasHost(node.name) && simulation.endTerminatedServers(on: node.name) { terminationsDue = due + ScenarioTiming.terminations }
        }
    }

    // MARK: Kubelet

    private func start(_ life: ContainerLife, in pod: PodLife) {
        let container = life.container
        let planned = pod.pod
        if life.lastExit != nil { life.countRestart() }
        let surroundings = plan.surroundings(of: container, in: planned)
        let environment = variables(surroundings)
        let entry = ImageCatalogue.entryPoint(
            image: container.image, command: surroundings.command, args: surroundings.args,
            declaredPorts: container.ports.map { (port: $0.port, proto: $0.proto.number) }, environment: environment, names: names)
        if let note = entry.note, toldImages.insert(note).inserted { warn(note) }
        let mounts = surroundings.mounts.map { (path: $0.path, volume: pod.volume($0.volume, make: simulation.makeVolume), isReadOnly: $0.readOnly) }
        let files = Dictionary(surroundings.files.map { ($0.path, $0.bytes) }, uniquingKeysWith: { $1 }).merging(entry.files) { own, _ in own }
        let identifier = simulation.makeContainer(name: container.name, files: files, mounts: mounts)
        let handle = simulation.spawn(on: planned.hostName, entry.makeProgram(), arguments: entry.arguments, environment: environment, in: identifier)
        life.started(handle, userland: entry.userland, in: identifier, at: simulation.now) { planned.port($0, .tcp) }
        log.info("\(simulation.now) \(planned.key) \(container.name) starts: \(entry.arguments.joined(separator: " "))")
    }

    private func tellEnd(of life: ContainerLife, in pod: PodLife) {
        guard let (status, at) = life.lastExit else { return }
        let lastLine = life.log.split(separator: "\n").last.map { ": \($0)" } ?? ""
        let text = "\(pod.pod.key) container \(life.container.name) exited with \(status)\(lastLine)"
        // What was asked to end may say so with a status.
        if status != 0, pod.deletedAt == nil { warn(text) } else { log.info("\(at) \(text)") }
    }

    private func prober(of life: ContainerLife, in pod: PodLife) -> Prober {
        let host = pod.pod.hostName
        return Prober(
            isListening: { [simulation] in simulation.isListening(host, port: $0) },
            spawn: { [self] words in start(words, on: CommandTarget(host: host, pod: pod, container: life), observer: nil) })
    }

    // MARK: Endpoint controller, kube-proxy and DNS

    /// The endpoint controller and then kube-proxy follow, each a little later.
    private func endpointsChanged(at now: Instant) {
        if scenario.cluster.endpointsDelay.isZero {
            queueRules(at: now)
        } else if slicesDue == nil {
            slicesDue = now + scenario.cluster.endpointsDelay
        }
    }

    private func queueRules(at now: Instant) {
        if rulesDue == nil { rulesDue = now + scenario.cluster.kubeProxyDelay }
        healthChecks.queued(at: now)
    }

    /// The endpoint controller's turn.
    private func followPods() {
        defer { newServices = [] }
        changedServices.formUnion(
            controller.follow(plan, services: newServices) { [pods] planned in
                let pod = pods[planned.index]
                let isListed = !pod.isFinished && pod.phase != .absent && pod.phase != .gone
                return EndpointController.PodState(isListed: isListed, isReady: pod.isReady, isTerminating: pod.isTerminating)
            })
    }

    /// kube-proxy's and the DNS servers' turn: what has changed since their last one is written, and nothing else.
    private func writeRules() {
        // Where the endpoint controller takes time, kube-proxy hears of a new Service before there are endpoints.
        if !isPublished, scenario.cluster.endpointsDelay.isZero || !hasEndpoints { followPods() }
        isPublished = false
        for pod in pods where pod.deletedAt != nil && pod.leftRulesAt == nil {
            if !controller.isListed(pod.pod, in: plan) { pod.leftRulesAt = simulation.now }
        }
        let services = unheardServices
        let changed = changedServices.union(services)
        (changedServices, unheardServices, hasEndpoints) = ([], [], true)
        if services.isEmpty, !hasNewNames {
            names.names.update(plan, changed: changed, slices: controller.slices(of:))
        } else {
            names.names = plan.names(endpoints: controller.slices(in: plan))
            hasNewNames = false
        }
        names.serial = UInt32(truncatingIfNeeded: VirtualEpoch.unixSeconds + simulation.now.nanoseconds / 1_000_000_000)
        for index in proxies.indices {
            let node = proxies[index].node
            let update = proxies[index].sync(plan, changed: changed, services: services, slices: controller.slices(of:))
            // Where a real node's kube-proxy wrote its rules, IPVS, which they do not hold, is told as ever.
            if nodeRules[node.name] == nil {
                // Without a table somebody has changed kube-proxy's own chains: a sync writes them anew.
                if let rules = update.rules ?? (simulation.services(of: node.name) == nil ? proxies[index].rules : nil) {
                    do { try simulation.setRules(rules, on: node.name) } catch { warn("\(node.name): the rules of kube-proxy were not accepted: \(error)") }
                }
                simulation.setServices(update.table, on: node.name)
            }
            write(update.virtualServers, on: node.name)
        }
        healthChecks.update(plan, changed, controller.slices(of:))
        healthChecks.updated(at: simulation.now)
        healthChecks.serve(plan, on: simulation)
        frontends.update(plan, changed: changed, slices: controller.slices(of:))
        if !frontends.isEmpty { for node in plan.nodes { simulation.removeConnections(on: node.name, where: frontends.isStale) } }
        log.info("\(simulation.now) kube-proxy: \(changed.count) changed Services")
    }

    private func write(_ servers: NodeProxy.VirtualServers, on node: String) {
        switch servers {
        case .unchanged: return
        case .all(let all): simulation.setVirtualServers(all, gracefully: true, on: node)
        case .changed(let some):
            let isThere = simulation.changeVirtualServers(some, gracefully: true, on: node)
            assert(isThere, "the first sync writes every virtual server")
        }
        if terminationsDue == nil, simulation.hasTerminatingServers(on: node) {
            // Every minute from its start (`rsCheckDeleteInterval`).
            let interval = UInt64(ScenarioTiming.terminations.nanoseconds)
            terminationsDue = Instant(nanoseconds: (simulation.now.nanoseconds / interval + 1) * interval)
        }
    }

    // MARK: NetworkPolicy

    /// What a person does with kubectl: what it prints, and what of it could not be done.
    func perform(_ change: ClusterChange) -> (output: [String], errors: [String]) {
        let outcome: ChangeOutcome
        switch change {
        case .applyObjects(let objects):
            for warning in objects.flatMap(\.warnings) { warn(warning.description) }
            let present = presentPods
            outcome = plan.apply(objects) { present.contains($0) }
        case .deleteObjects(let targets):
            let present = presentPods
            outcome = plan.delete(targets) { present.contains($0) }
        default: do { return (try apply(change), []) } catch { return ([], [error.description]) }
        }
        let now = simulation.now
        followWorkloads(outcome, at: now)
        let isHeard = !outcome.services.isEmpty
        newServices.formUnion(outcome.services.union(outcome.slices))
        unheardServices.formUnion(outcome.services)
        // kube-proxy hears of Services itself.
        if isHeard { queueRules(at: now) }
        endpointsChanged(at: now)
        if outcome.changesPolicies {
            hasNewNames = true
            if policiesDue == nil { policiesDue = now + ScenarioTiming.ruleLag }
        }
        return (outcome.output, outcome.errors)
    }

    /// One change; returns what kubectl prints. Agents on the nodes follow as kube-proxy does.
    func apply(_ change: ClusterChange) throws(ChangeError) -> [String] {
        switch change {
        case .applyObjects, .deleteObjects:
            let (output, errors) = perform(change)
            if let error = errors.first { throw ChangeError(description: error) }
            return output
        case .labelPod(let key, _), .annotatePod(let key, _): if !exists(key) { throw .notFound("pods", key.name) }
        default: break
        }
        let lines = try plan.apply(change)
        switch change {
        case .restart(let reference):
            controller(of: reference).restart()
            return lines
        case .scale(let reference, let replicas):
            controller(of: reference).scale(to: replicas)
            return lines
        case .annotatePod(let key, _):
            if let pod = plan.pod(key) { pods[pod.index].relabelled(pod) }
            return lines
        case .labelPod(let key, _):
            if let pod = plan.pod(key) { pods[pod.index].relabelled(pod) }
            // Services may select it now, or no longer.
            endpointsChanged(at: simulation.now)
        case .taint:
            healthChecks.follow(plan.nodes)
            return lines
        default: break
        }
        if policiesDue == nil { policiesDue = simulation.now + ScenarioTiming.ruleLag }
        return lines
    }

    private func writePolicies() {
        guard scenario.cluster.networkPolicy != .off else {
            if plan.hasPolicies { warn("NetworkPolicies have no effect: spec.cluster.networkPolicy is off") }
            return
        }
        if !plan.hasPolicies, !hasPolicies { return }
        hasPolicies = true
        let table = plan.policyTable()
        for node in plan.nodes {
            simulation.setPolicies(table.local(to: node.name), style: scenario.cluster.networkPolicy == .reject ? .reject : .drop, on: node.name)
        }
        log.info("\(simulation.now) network policies: \(plan.networkPolicies.count + plan.adminPolicies.count) in force")
    }

    /// Packets refused by policies on all nodes, in order.
    var policyDrops: [PolicyDropCount] {
        var sums: [PolicyDropCount] = []
        for drop in plan.nodes.flatMap({ simulation.policyDrops(of: $0.name) }) {
            let same = sums.firstIndex { $0.direction == drop.direction && $0.policies == drop.policies && $0.pod == drop.pod }
            if let same { sums[same].packets += drop.packets } else { sums.append(drop) }
        }
        return sums.sorted { ($0.direction.rawValue, $0.policies, $0.pod) < ($1.direction.rawValue, $1.policies, $1.pod) }
    }

    /// What images set, under what the kubelet sets.
    private static let imageEnvironment = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"]

    private func variables(_ surroundings: ContainerSurroundings) -> [String: String] {
        World.imageEnvironment.merging(surroundings.environment.map { ($0.name, $0.value) }) { $1 }
    }

    // MARK: Commands

    /// As below, of a program that no shell knows.
    func start(_ program: any Program, arguments: [String], on target: CommandTarget) -> ProcessHandle? {
        var files = machineFiles[target.host]
        if let life = target.container {
            guard life.isRunning else { return nil }
            files = life.identifier
        }
        guard let files else { return nil }
        return simulation.spawn(on: target.host, program, arguments: arguments, environment: World.imageEnvironment, in: files)
    }

    /// Starts a command in a container or on a machine, now. Nil when the container does not run, or there is no such command.
    func start(_ words: [String], on target: CommandTarget, observer: ((String, Bool) -> Void)?) -> ProcessHandle? {
        var environment = World.imageEnvironment
        environment["HOSTNAME"] = target.host
        var userland = Userland.gnu
        var files = machineFiles[target.host]
        if let life = target.container, let pod = target.pod {
            guard life.isRunning else { return nil }
            environment = variables(plan.surroundings(of: life.container, in: pod.pod))
            userland = life.userland
            files = life.identifier
        }
        guard let files, let program = CommandTable.program(named: words[0], arguments: Array(words.dropFirst()), userland: userland) else { return nil }
        return simulation.spawn(on: target.host, program, arguments: words, environment: environment, in: files, observer: observer)
    }
}

/// Where a command runs, found.
struct CommandTarget {
    /// In the topology.
    var host: String
    var pod: PodLife?
    var container: ContainerLife?

    /// As a prompt shows it: the pod, and its container where it has several.
    var prompt: String {
        guard let pod, let container else { return host }
        return pod.pod.template.containers.count > 1 ? "\(pod.pod.metadata.name)/\(container.container.name)" : pod.pod.metadata.name
    }
}
