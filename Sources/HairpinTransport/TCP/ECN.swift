import HairpinEngine
import HairpinWire

/// Explicit congestion notification (RFC 3168): not negotiated yet.
extension TransportStack {
    func hearsCongestion(_ e: EndpointPointer, _ segment: Segment) -> Bool { false }
    func queueCWR(_ e: EndpointPointer) {}
    func withdrawCWR(_ e: EndpointPointer) {}
}
