import HairpinDatapath
import HairpinTransport
import HairpinWire

/// What a logical process calls: it hands packets to the stacks of its namespaces, and the rest to its kernel.
///
/// An object of its own, so that ownership has no circle: the logical process owns this, stacks and the kernel own the logical process, and this
/// borrows both from the kernel. Packets then go up and down without anything being retained.
final class UpperLayers: UpperLayer {
    /// Set by the kernel as soon as it exists, before anything can happen.
    unowned(unsafe) var kernel: NodeKernel!
    /// The stacks of the namespaces in order, as far as they have been needed; the kernel owns them.
    private let stacks: UnsafeMutablePointer<Unmanaged<TransportStack>?>

    init(namespaceCapacity: Int) {
        stacks = .allocate(capacity: max(namespaceCapacity, 1))
        stacks.initialize(repeating: nil, count: max(namespaceCapacity, 1))
    }

    deinit {
        stacks.deallocate()
    }

    /// The stack of a namespace, which the kernel makes when it is asked for the first time: a pod in which nothing happens has none.
    @inline(__always)
    func stack(_ namespace: NamespaceIndex) -> Unmanaged<TransportStack> { stacks[Int(namespace.rawValue)] ?? makeStack(namespace) }

    @inline(never)
    private func makeStack(_ namespace: NamespaceIndex) -> Unmanaged<TransportStack> {
        let stack = Unmanaged.passUnretained(kernel.makeStack(namespace))
        stacks[Int(namespace.rawValue)] = stack
        return stack
    }

    func deliver(_ packet: UnsafeRawBufferPointer, namespace: NamespaceIndex, checksumVerified: Bool, cutFromBurst: Bool) -> LocalDelivery {
        switch stack(namespace)._withUnsafeGuaranteedRef({ $0.receive(packet, checksumVerified: checksumVerified, cutFromBurst: cutFromBurst) }) {
        case .delivered: .delivered
        case .refused: .dropped(.noSocket)
        case .noSocket: .portUnreachable
        case .noProtocol: .protocolUnreachable
        case .malformed: .dropped(.malformedTransport)
        case .badChecksum: .dropped(.checksumTransport)
        case .bufferFull: .dropped(.socketBufferFull)
        case .tooFewHops: .dropped(.minimumTimeToLive)
        }
    }

    func receiveError(type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address, quote: UnsafeRawBufferPointer, namespace: NamespaceIndex) {
        stack(namespace)._withUnsafeGuaranteedRef {
            $0.receiveICMPError(type: type, code: code, information: information, offender: offender, quote: quote)
        }
    }

    func stackTimer(namespace: NamespaceIndex) { stack(namespace)._withUnsafeGuaranteedRef { $0.timerExpired() } }
    func runProcess(_ index: UInt32) { kernel.runProcess(index) }
    func sawARP(_ frame: UnsafeRawBufferPointer, interface: InterfaceIndex) { kernel.sawARP(frame, interface: interface) }
}
