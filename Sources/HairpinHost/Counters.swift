import HairpinTransport

extension Simulation {
    /// What a host's TCP, UDP and ICMP have counted, as netstat(8) shows it; nil if there is no such host.
    public func transportStatistics(of host: String) -> TransportStatistics? {
        guard let place = places[host] else { return nil }
        return kernels[place.kernel].stack(place.namespace).counters
    }
}
