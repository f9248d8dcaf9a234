import HairpinCluster
import HairpinEngine
import HairpinHost
import HairpinPrograms
import HairpinWire

/// Clients of a step, and why their requests were lost.
final class RequestWatch {
    let plan: RequestPlan
    let log: RequestLog
    /// The client's address, and the machine whose connection table its packets pass first.
    let source: IPv4Address?
    let machine: String
    private(set) var losses: [LostRequest] = []
    /// How many of the log's records have been looked at.
    private var seen = 0

    init(_ plan: RequestPlan, _ log: RequestLog, source: IPv4Address?, machine: String) {
        (self.plan, self.log, self.source, self.machine) = (plan, log, source, machine)
    }

    /// Records since the last time that are no answers.
    func take() -> [RequestRecord] {
        defer { seen = log.records.count }
        return log.records[seen...].filter { $0.outcome != .answered }
    }
    func add(_ loss: LostRequest) { losses.append(loss) }

    var result: RequestsResult {
        var result = RequestsResult(sent: log.records.count, answered: log.records.count { $0.outcome == .answered }, losses: losses)
        let times = log.records.filter { $0.outcome == .answered }.map { ($0.endedAt - $0.startedAt).nanoseconds }.sorted()
        if let last = times.last {
            result.latency = LatencyResult(minimum: times[0], median: times[times.count / 2], percentile99: times[min(times.count - 1, times.count * 99 / 100)], maximum: last)
        }
        return result
    }
}

/// `requests` of a step's result.
public struct RequestsResult: Codable, Sendable {
    public var sent: Int
    public var answered: Int
    public var losses: [LostRequest]
    /// Of the requests that were answered, in nanoseconds.
    public var latency: LatencyResult?
    public var lost: Int { losses.count }
    public func count(_ cause: String) -> Int { losses.count { $0.cause == cause } }
    /// In the order of how far a request came.
    static let causes = ["refused", "no connection", "unreachable", "reset", "closed", "no answer", "status"]
}

public struct LatencyResult: Codable, Sendable {
    public var minimum: Int64
    public var median: Int64
    public var percentile99: Int64
    public var maximum: Int64
}

/// A request without an answer, and why.
public struct LostRequest: Codable, Sendable {
    public var number: Int
    public var startedNanoseconds: UInt64
    public var endedNanoseconds: UInt64
    /// "refused", "no connection", "unreachable", "reset", "closed", "no answer", "status".
    public var cause: String
    /// "10.244.0.3:80"; nil where kube-proxy chose none.
    public var endpoint: String?
    public var pod: String?
    public var reason: String
}

extension World {
    /// Starts clients in a container or on a machine.
    func startRequests(_ plan: RequestPlan, on target: CommandTarget) -> (handle: ProcessHandle, watch: RequestWatch)? {
        let log = RequestLog()
        guard let handle = start(RequestLoad(plan, log: log), arguments: ["requests"], on: target) else { return nil }
        let pod = target.pod?.pod
        let source = pod?.address ?? self.plan.nodes.first { $0.name == target.host }?.address ?? scenario.hosts.first { $0.name == target.host }?.address
        let watch = RequestWatch(plan, log, source: source, machine: pod?.node ?? target.host)
        simulation.watchBindings(on: watch.machine)
        loads.append(watch)
        return (handle, watch)
    }

    /// Looks at what was lost since the last time, when it is known what kube-proxy and the kubelets have done about it.
    func explainLosses() {
        for watch in loads {
            for record in watch.take() { watch.add(explain(record, watch)) }
        }
    }

    private func explain(_ record: RequestRecord, _ watch: RequestWatch) -> LostRequest {
        var endpoint = endpoint(of: record, watch)
        var life: PodLife?
        // A pod that was asked by its address, and of whom the connection table knows nothing.
        if endpoint == nil, pods.contains(where: { $0.pod.address == watch.plan.address }) { endpoint = (watch.plan.address, watch.plan.port) }
        if let endpoint { for pod in pods where pod.pod.address == endpoint.address { life = pod } }
        var loss = LostRequest(
            number: record.number, startedNanoseconds: record.startedAt.nanoseconds, endedNanoseconds: record.endedAt.nanoseconds, cause: World.cause(record.outcome),
            endpoint: endpoint.map { "\($0.address):\($0.port)" }, pod: life?.pod.key.description, reason: "")
        loss.reason = life.map { reason(record, $0, port: endpoint?.port) } ?? reason(record, watch.plan, hasEndpoint: endpoint != nil)
        return loss
    }

    private static func cause(_ outcome: RequestOutcome) -> String {
        switch outcome {
        case .answered: "answered"
        case .status: "status"
        case .refused: "refused"
        case .reset: "reset"
        case .closed: "closed"
        case .noConnection: "no connection"
        case .noAnswer: "no answer"
        case .unreachable: "unreachable"
        }
    }

    /// Where the node sent the connection.
    private func endpoint(of record: RequestRecord, _ watch: RequestWatch) -> (address: IPv4Address, port: UInt16)? {
        guard let source = watch.source, record.localPort != 0 else { return nil }
        return simulation.binding(on: watch.machine, from: source, port: record.localPort, to: watch.plan.address, port: watch.plan.port)
    }

    /// Of a request that came to no pod.
    private func reason(_ record: RequestRecord, _ request: RequestPlan, hasEndpoint: Bool) -> String {
        if let missing = plan.missingPort(request.address, request.port, 6) ?? plan.missingPods(request.address) { return missing }
        if hasEndpoint { return "the endpoint is no pod" }
        guard record.outcome == .refused else { return "the node knew of no connection: the packets never came to an endpoint" }
        let node = plan.nodes.first { $0.address == request.address }
        if let node, !plan.configuration.nodePorts.contains(request.port) { return "\(node.name) does not listen on port \(request.port), which is no node port" }
        return node != nil || plan.isServiceAddress(request.address)
            ? "kube-proxy knew of no endpoint that was ready, and its rules reject" : "nothing listens on \(request.address):\(request.port)"
    }

    private func reason(_ record: RequestRecord, _ life: PodLife, port: UInt16?) -> String {
        func words(_ time: Duration) -> String { Quantity.words(Duration.milliseconds(time.nanoseconds / 1_000_000)) }
        let name = life.pod.metadata.name
        if life.phase == .absent || record.startedAt < life.createdAt { return "\(name) had not been made yet" }
        let ended = ending(of: life)
        let proxy: String =
            switch life.leftRulesAt {
            case let left? where left >= record.startedAt: "kube-proxy took it out of its rules \(words(left - record.startedAt)) later"
            case nil where life.deletedAt != nil: "kube-proxy had not taken it out of its rules"
            case let left?: "kube-proxy had taken it out \(words(record.startedAt - left)) before, for connections that were new"
            case nil: "it was not being deleted"
            }
        switch record.outcome {
        case .refused:
            guard let ended, ended <= record.endedAt else {
                return life.deletedAt == nil ? "\(name) did not listen\(port.map { " on port \($0)" } ?? "")" : "\(name) was ending and no longer accepted connections; \(proxy)"
            }
            return "\(name) had ended \(words(record.endedAt - ended)) before; \(proxy)"
        case .noConnection, .unreachable:
            guard let gone = life.goneAt else { return "\(name) did not answer in time" }
            return "\(name) was gone for \(words(record.startedAt > gone ? record.startedAt - gone : .zero)); \(proxy)"
        case .reset, .closed:
            guard let ended else { return life.deletedAt == nil ? "\(name) ended the connection" : "\(name) was ending; \(proxy)" }
            let how = killed(life) ? "was killed when its grace period was over" : "ended"
            return "\(name) \(how) \(words(ended > record.startedAt ? ended - record.startedAt : .zero)) after the request began, before it had answered"
        case .noAnswer:
            guard let ended else { return "\(name) did not answer in time" }
            return ended <= record.endedAt ? "\(name) ended while the request was open, and its network with it" : "\(name) did not answer in time"
        case .status(let status): return "\(name) answered with status \(status)"
        case .answered: return ""
        }
    }

    /// When the first of the pod's containers ended for good.
    private func ending(of life: PodLife) -> Instant? {
        guard life.deletedAt != nil else { return nil }
        return life.mains.compactMap { $0.isRunning ? $0.exitTime : $0.lastExit?.at }.min()
    }
    private func killed(_ life: PodLife) -> Bool { life.mains.contains { $0.lastExit?.status == 137 } }
}
