/// What kube-proxy answers a load balancer that asks whether to send a node traffic: the server on a Service's `healthCheckNodePort`
/// (pkg/proxy/healthcheck/service_health.go). 200 while the node has a ready endpoint of the Service, else 503.
public enum HealthCheckServer {
    /// - Parameter localEndpoints: asked at every request.
    public static func program(port: UInt16, namespace: String, service: String, localEndpoints: @escaping () -> Int) -> any Program {
        HTTPServer(HTTPServerStyle(ports: [port], keepAlive: nil)) { _, _, system in
            let count = localEndpoints()
            let body = """
                {
                \t"service": {
                \t\t"namespace": "\(namespace)",
                \t\t"name": "\(service)"
                \t},
                \t"localEndpoints": \(count),
                \t"serviceProxyHealthy": true
                }
                """
            // As Go's net/http orders them: what the handler has set by name, then its own.
            let fields = [
                ("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"), ("X-Load-Balancing-Endpoint-Weight", "\(count)"),
                ("Date", CivilTime(system.now).http), ("Content-Length", "\(body.utf8.count)"),
            ]
            return HTTPResponse(count > 0 ? 200 : 503, count > 0 ? "OK" : "Service Unavailable", fields: fields, body: Array(body.utf8))
        }
    }
}
