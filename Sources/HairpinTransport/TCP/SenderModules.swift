import HairpinEngine
import HairpinWire

/// What few connections have beside their endpoint: pacing, waiting for the device, the private state of a congestion control that is not built
/// into the endpoint (`icsk_ca_priv`), the search for a larger path MTU, urgent data. Made when the first of them is switched on, at an address of its own, and gone
/// with the endpoint; without it the data path pays one comparison.
struct SenderModules {
    var pacing = Pacing()
    /// When the device will have sent the next packet, which lets more follow (TSQ_THROTTLED); `.max`: nothing waits for it.
    var releaseAt = UInt64.max
    /// What the present ACK tells BBR.
    var sample = DeliveryRate.Sample()
    var bbr = BBR()
    var dctcp = DCTCP()
    var search = PathMTUSearch()
    var urgent = Urgent()
}

typealias SenderModulesPointer = UnsafeMutablePointer<SenderModules>

extension TransportStack {
    /// The modules of a connection, made if there are none yet.
    func requireModules(_ e: EndpointPointer) -> SenderModulesPointer {
        if let modules = e.cold.pointee.modules { return modules }
        let modules = SenderModulesPointer.allocate(capacity: 1)
        modules.initialize(to: SenderModules())
        modules.pointee.pacing.next = e.cold.pointee.lastTransmission
        e.cold.pointee.modules = modules
        return modules
    }

    /// The connection has left the wire: it waits for nothing more.
    func stopModules(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules else { return }
        (modules.pointee.pacing.deadline, modules.pointee.releaseAt) = (.max, .max)
        modules.pointee.search.probeSize = 0
    }

    func freeModules(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules else { return }
        modules.deinitialize(count: 1)
        modules.deallocate()
        e.cold.pointee.modules = nil
    }

    /// A child of a listener takes over its rate limit (`sk_clone`).
    func inheritModules(_ e: EndpointPointer, from listener: EndpointPointer) {
        guard let source = listener.cold.pointee.modules, source.pointee.pacing.isOn else { return }
        let modules = requireModules(e)
        modules.pointee.pacing.isOn = true
        modules.pointee.pacing.maximumRate = source.pointee.pacing.maximumRate
        modules.pointee.pacing.rate = source.pointee.pacing.maximumRate
    }

    /// Something was sent again. `previous`: when something was last sent before it.
    func moduleResent(_ e: EndpointPointer, _ modules: SenderModulesPointer, payload: Int, previous: UInt64) {
        advancePacing(e, modules, payload: payload, previous: previous)
        // A probe of the path MTU shows nothing any more once something is sent again (`__tcp_retransmit_skb`).
        modules.pointee.search.probeSize = 0
    }
}
