import HairpinEngine

/// What kube-proxy knows of its own health when somebody asks (pkg/proxy/healthcheck/proxy_health.go).
public struct ProxyHealth: Sendable {
    /// No change of Services or endpoints has waited for longer than it may.
    public var isHealthy: Bool
    /// Neither deleted nor tainted `ToBeDeletedByClusterAutoscaler`.
    public var isNodeEligible: Bool
    /// When rules were last written; nil before the first time.
    public var lastUpdated: Instant?
    public init(isHealthy: Bool, isNodeEligible: Bool, lastUpdated: Instant?) {
        (self.isHealthy, self.isNodeEligible, self.lastUpdated) = (isHealthy, isNodeEligible, lastUpdated)
    }
}

/// The server of kube-proxy's `--healthz-bind-address`, 0.0.0.0:10256: `/healthz`, which a load balancer asks before it sends a node traffic (KEP-3836), and
/// `/livez`, which leaves the node's fate out.
public enum ProxyHealthServer {
    public static let port: UInt16 = 10256

    /// - Parameter health: asked at every request, with the time of it.
    public static func program(health: @escaping (Instant) -> ProxyHealth) -> any Program {
        HTTPServer(HTTPServerStyle(ports: [port], backlog: 4096, keepAlive: nil)) { request, _, system in
            let now = system.now
            let path = request.path
            guard path == "/healthz" || path == "/livez" else {
                // As Go's `http.NotFound` has it.
                var answer = HTTPResponse.text("404 page not found\n", status: 404, reason: "Not Found", at: now)
                answer.fields = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")] + answer.fields.filter { $0.0 != "Content-Type" }
                return answer
            }
            let state = health(now)
            let isAboutNode = path == "/healthz"
            let isGood = state.isHealthy && (state.isNodeEligible || !isAboutNode)
            // A server that is well says that it was updated just now, whatever happened when.
            let updated = isGood ? goTime(now) : state.lastUpdated.map(goTime) ?? "0001-01-01 00:00:00 +0000 UTC"
            let node = isAboutNode ? ", \"nodeEligible\": \(state.isNodeEligible)" : ""
            let body = "{\"lastUpdated\": \"\(updated)\",\"currentTime\": \"\(goTime(now))\"\(node)}"
            return .health(isGood, body, at: now)
        }
    }

    /// Go's `time.Time.String()`, with the reading of the monotonic clock, which began with the process: "2024-01-01 00:00:01.25 +0000 UTC m=+1.250000000".
    static func goTime(_ now: Instant) -> String {
        let time = CivilTime(now)
        func digits(_ number: Int, _ count: Int) -> String { String(repeating: "0", count: max(count - String(number).count, 0)) + String(number) }
        var fraction = digits(time.nanosecond, 9)
        while fraction.hasSuffix("0") { fraction.removeLast() }
        let date = "\(digits(time.year, 4))-\(digits(time.month, 2))-\(digits(time.day, 2))"
        let clock = "\(digits(time.hour, 2)):\(digits(time.minute, 2)):\(digits(time.second, 2))"
        let monotonic = "m=+\(now.nanoseconds / 1_000_000_000).\(digits(time.nanosecond, 9))"
        return "\(date) \(clock)\(fraction.isEmpty ? "" : "." + fraction) +0000 UTC \(monotonic)"
    }
}

extension HTTPResponse {
    /// 200 or 503 with JSON, as kube-proxy's servers answer; fields in the order of Go's net/http: what the handler has set by name, then its own.
    static func health(_ isGood: Bool, _ body: String, more: [(String, String)] = [], at now: Instant) -> HTTPResponse {
        let own = [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff")]
        let fields = own + more + [("Date", CivilTime(now).http), ("Content-Length", "\(body.utf8.count)")]
        return HTTPResponse(isGood ? 200 : 503, isGood ? "OK" : "Service Unavailable", fields: fields, body: Array(body.utf8))
    }
}
