import HairpinDatapath
import HairpinEngine
import HairpinTransport
import HairpinWire

/// IP of one namespace, as its transport stack sees it.
final class StackNetwork: NetworkLayer {
    unowned(unsafe) let kernel: NodeKernel
    /// Owned, so that a call retains nothing; the logical process does not own stacks.
    let process: LogicalProcess
    private let waiters: SocketWaiters
    let namespace: NamespaceIndex

    init(kernel: NodeKernel, process: LogicalProcess, namespace: NamespaceIndex) {
        self.kernel = kernel
        self.process = process
        waiters = kernel.waiters
        self.namespace = namespace
    }

    var now: Instant { process.now }

    func route(to destination: IPv4Address, from source: IPv4Address, device: String) throws(Errno) -> TransportRoute {
        if source != .any, !process.isLocal(source, namespace: namespace) { throw .invalid }
        guard let route = process.outputRoute(to: destination, namespace: namespace) else { throw .networkUnreachable }
        return TransportRoute(source: source == .any ? route.source : source, mtu: route.mtu, isLocal: route.isLocal)
    }

    func isLocal(_ address: IPv4Address) -> Bool { process.isLocal(address, namespace: namespace) }

    func allocate(_ byteCount: Int) -> PacketBuffer? {
        let packet = process.allocatePacket(byteCount)
        return PacketBuffer(handle: packet.handle.number, payload: packet.payload)
    }

    func send(_ packet: PacketBuffer, _ request: SendRequest) -> Errno? {
        var output = OutputRequest(source: request.source, destination: request.destination, proto: request.proto)
        output.timeToLive = request.timeToLive
        output.typeOfService = request.typeOfService
        output.dontFragment = request.dontFragment
        output.mayFragmentLocally = request.mayFragmentLocally
        output.identification =
            switch request.identification {
            case .zero: .zero
            case .value(let value): .value(value)
            case .host: .host
            }
        output.socket = request.socket.rawValue
        output.confirmsNeighbour = request.confirmsNeighbour
        // Every protocol of the stack finishes its checksum.
        output.hasFinishedChecksums = true
        output.isCutFromBurst = request.isCutFromBurst
        do throws(OutputError) {
            try process.send(process.frameHandle(rawValue: packet.handle), output, namespace: namespace)
            return nil
        } catch {
            switch error {
            case .noRoute: return .networkUnreachable
            case .tooLong: return .messageTooLong
            case .refused: return .notPermitted
            }
        }
    }

    func packetsHeld(by socket: SocketID) -> Int { process.packetsHeld(by: socket.rawValue, namespace: namespace) }
    var departure: UnsafeMutablePointer<UInt64>? { process.departure }
    func arm(_ deadline: Instant) { process.armStack(namespace, at: deadline) }
    func runSoftirqs() { process.runSoftirqs() }
    func readinessChanged(_ socket: SocketID) { waiters.forEachSleeper(namespace, socket) { kernel.poke($0) } }
}
