import HairpinDatapath
import HairpinTransport
import HairpinWire

/// A raw socket (raw(7)) on a host, for what makes packets itself: they take the way of the host's own, through its routes, rules and neighbours.
public struct RawSocket {
    private let process: LogicalProcess
    private let namespace: NamespaceIndex

    init(process: LogicalProcess, namespace: NamespaceIndex) {
        self.process = process
        self.namespace = namespace
    }

    /// Sends `count` bytes behind an IP header of the host's making; `fill` writes them all, the transport's checksum included. What the packet sets off
    /// runs to its end before the call returns, as with every system call.
    @inline(__always)
    public func send(
        from source: IPv4Address, to destination: IPv4Address, _ proto: IPProtocol, count: Int, fill: (UnsafeMutableRawPointer) -> Void
    ) throws(Errno) {
        let packet = process.allocatePacket(count)
        fill(packet.payload.baseAddress.unsafelyUnwrapped)
        let request = OutputRequest(source: source, destination: destination, proto: proto)
        do throws(OutputError) {
            try process.send(packet.handle, request, namespace: namespace)
        } catch {
            process.runSoftirqs()
            throw error == .noRoute ? .networkUnreachable : error == .tooLong ? .messageTooLong : .notPermitted
        }
        process.runSoftirqs()
    }
}

extension Simulation {
    /// A raw socket on a host; nil if there is no such host.
    public func rawSocket(on host: String) -> RawSocket? {
        guard let place = places[host] else { return nil }
        return RawSocket(process: kernels[place.kernel].process, namespace: place.namespace)
    }
}
