import HairpinEngine
import HairpinWire

/// What few connections have beside their endpoint: pacing, samples of the delivery rate, the private state of a congestion control that is not built
/// into the endpoint (`icsk_ca_priv`), the search for a larger path MTU, urgent data. Made when the first of them is switched on, at an address of its own, and gone
/// with the endpoint; without it the data path pays one comparison.
struct SenderModules {
    var pacing = Pacing()
    var rate = DeliveryRate()
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

    /// The connection has left the wire: no more pacing, and nothing in flight to take samples of.
    func stopModules(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules else { return }
        modules.pointee.pacing.deadline = .max
        modules.pointee.rate.flights.release(pool)
        modules.pointee.search.probeSize = 0
    }

    func freeModules(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules else { return }
        modules.pointee.rate.flights.release(pool)
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

    /// A burst (one packet of the kernel's write queue) has gone out. `previous`: when something was last sent before it; `wasIdle`: nothing was in flight.
    func moduleSent(_ e: EndpointPointer, _ modules: SenderModulesPointer, start: SequenceNumber, previous: UInt64, payload: Int, wasIdle: Bool) {
        advancePacing(e, modules, payload: payload, previous: previous)
        if modules.pointee.rate.isOn { recordFlight(e, modules, start: start, end: e.pointee.sendNext, wasIdle: wasIdle) }
    }

    /// The same for what is sent again.
    func moduleResent(_ e: EndpointPointer, _ modules: SenderModulesPointer, _ sent: SentSegment, previous: UInt64) {
        advancePacing(e, modules, payload: sent.payload, previous: previous)
        if modules.pointee.rate.isOn { recordResent(e, modules, start: sent.start, end: sent.end) }
        // A probe of the path MTU shows nothing any more once something is sent again (`__tcp_retransmit_skb`).
        modules.pointee.search.probeSize = 0
    }
}
