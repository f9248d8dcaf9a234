import HairpinEngine

/// What kube-proxy answers a load balancer that asks whether to send a node traffic: the server on a Service's `healthCheckNodePort`
/// (pkg/proxy/healthcheck/service_health.go). 200 while the node has a ready endpoint of the Service and kube-proxy follows changes, else 503.
public enum HealthCheckServer {
    /// - Parameter state: asked at every request, with the time of it.
    public static func program(
        port: UInt16, namespace: String, service: String, state: @escaping (Instant) -> (localEndpoints: Int, isProxyHealthy: Bool)
    ) -> any Program {
        HTTPServer(HTTPServerStyle(ports: [port], backlog: 4096, keepAlive: nil)) { _, _, system in
            let (count, isHealthy) = state(system.now)
            let body = """
                {
                \t"service": {
                \t\t"namespace": "\(namespace)",
                \t\t"name": "\(service)"
                \t},
                \t"localEndpoints": \(count),
                \t"serviceProxyHealthy": \(isHealthy)
                }
                """
            return .health(count > 0 && isHealthy, body, more: [("X-Load-Balancing-Endpoint-Weight", "\(count)")], at: system.now)
        }
    }
}
