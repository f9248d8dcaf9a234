import HairpinEngine
import HairpinWire

extension LogicalProcess {
    /// A packet in transit (`ip_forward`): time to live, size, then FORWARD and on.
    func forward(_ frame: FrameHandle, _ device: InterfaceIndex, _ route: Route) {
        let index = interface(device).pointee.namespace
        let header = pool.pointee[frame].pointee.data
        if header.u8(IPv4Offset.timeToLive) <= 1 {
            // Quoted as it came, TTL 1 (RFC 1812 §5.3.1).
            sendError(about: frame, networkOffset: 0, type: ICMPv4.timeExceeded, code: ICMPv4.ttlExceeded, namespace: index)
            return drop(frame, .timeToLiveExceeded, at: device)
        }
        let mtu = interface(route.device).pointee.mtu
        if Int(pool.pointee[frame].pointee.count) > mtu, header.u16(IPv4Offset.flagsAndOffset) & IPv4Offset.dontFragment != 0 {
            sendError(about: frame, networkOffset: 0, type: ICMPv4.destinationUnreachable, code: ICMPv4.fragmentationNeeded, namespace: index, information: UInt32(mtu))
            return drop(frame, .mustNotFragment, at: device)
        }
        pool.pointee.makeWritable(frame)
        decrementTimeToLive(pool.pointee[frame].pointee.data)
        pool.pointee[frame].pointee.flags.insert(.forwarded)
        pool.pointee[frame].pointee.device = route.device
        guard hook(frame, .forward, input: device, output: route.device, networkOffset: 0) else { return }
        output(frame, route, input: device)
    }

    /// `ip_decrease_ttl`: the checksum changes with it (RFC 1624).
    private func decrementTimeToLive(_ header: UnsafeMutableRawPointer) {
        let old = header.u16(IPv4Offset.timeToLive)
        let new = old &- 0x0100
        header.put(new, at: IPv4Offset.timeToLive)
        header.put(InternetChecksum.update(header.u16(IPv4Offset.checksum), from: old, to: new), at: IPv4Offset.checksum)
    }
}
