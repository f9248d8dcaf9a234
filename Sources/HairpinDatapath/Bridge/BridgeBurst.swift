import CProcessor
import HairpinEngine
import HairpinWire

/// What became of a burst of frames.
public struct BurstResult: Sendable, Equatable {
    /// Frames that left by one port.
    public var forwarded = 0
    /// Frames for every port, for the host, or for the port they came in on.
    public var others = 0
    public init() {}
}

// A bridge's decision for many frames at once, as a poll of a network card takes them (net/core/dev.c, `napi_poll`): the same `decide` that every frame
// of a scenario meets, without the softirq, netfilter and cables around it. Figures of the bare core are taken here.
extension LogicalProcess {
    /// A frame that waits to be bridged, in no book's way: it counts as emitted, and in flight until it is released.
    public func makeFrame(_ bytes: [UInt8], on device: InterfaceIndex) -> FrameHandle {
        let frame = pool.pointee.allocate(bytes.count)
        bytes.withUnsafeBytes { frame.frame.pointee.data.copyMemory(from: $0.baseAddress!, byteCount: bytes.count) }
        frame.frame.pointee.device = device
        frame.frame.pointee.packetID = makePacketID()
        books.emitted += 1
        return frame
    }

    /// Enters an address into the table of the bridge whose port this is, as a frame from it would (`bridge fdb add … dynamic`).
    public func learn(_ mac: MACAddress, on port: InterfaceIndex) {
        let bridge = interface(interface(port).pointee.master)
        (bridges + Int(bridge.pointee.bridge)).pointee.learn(StationKey(mac), port: interface(port).pointee.portNumber, now: now)
    }

    /// How many frames ahead of the one that is decided on each thing is asked for that may not be in a near cache: what the frame says of itself,
    /// then its header, then the entries of its addresses. Each needs the one before it to have arrived.
    private static var frameAhead: Int { 48 }
    private static var headerAhead: Int { 24 }
    private static var entriesAhead: Int { 8 }

    /// Learns and decides for each frame, counts it on the port it leaves by, and notes that port as the frame's device. `ports` holds the port
    /// each frame came in on. Frames are 14 bytes long or longer and stay the caller's.
    public func bridgeBurst(_ frames: UnsafeBufferPointer<FrameHandle>, from ports: UnsafePointer<InterfaceIndex>, bridge: InterfaceIndex) -> BurstResult {
        let table = bridges + Int(interface(bridge).pointee.bridge)
        let own = StationKey(interface(bridge).pointee.mac)
        let count = frames.count
        for n in 0..<min(LogicalProcess.frameAhead, count) { hairpin_prefetch(frames[n].frame) }
        for n in 0..<min(LogicalProcess.headerAhead, count) { hairpin_prefetch(frames[n].frame.pointee.data) }
        for n in 0..<min(LogicalProcess.entriesAhead, count) { table.pointee.prefetch(frames[n].frame.pointee.data) }
        var forwarded = 0
        let whole = max(count &- LogicalProcess.frameAhead, 0)
        for n in 0..<whole {
            hairpin_prefetch(frames[n &+ LogicalProcess.frameAhead].frame)
            hairpin_prefetch(frames[n &+ LogicalProcess.headerAhead].frame.pointee.data)
            table.pointee.prefetch(frames[n &+ LogicalProcess.entriesAhead].frame.pointee.data)
            forwarded &+= bridgeOne(frames[n].frame, from: ports[n], table, own: own) ? 1 : 0
        }
        for n in whole..<count {
            if n &+ LogicalProcess.headerAhead < count { hairpin_prefetch(frames[n &+ LogicalProcess.headerAhead].frame.pointee.data) }
            if n &+ LogicalProcess.entriesAhead < count { table.pointee.prefetch(frames[n &+ LogicalProcess.entriesAhead].frame.pointee.data) }
            forwarded &+= bridgeOne(frames[n].frame, from: ports[n], table, own: own) ? 1 : 0
        }
        var result = BurstResult()
        (result.forwarded, result.others) = (forwarded, count &- forwarded)
        return result
    }

    /// Whether the frame leaves by one port.
    @inline(__always)
    private func bridgeOne(
        _ frame: UnsafeMutablePointer<Frame>, from ingress: InterfaceIndex, _ table: UnsafeMutablePointer<ForwardingTable>, own: StationKey
    ) -> Bool {
        let input = interface(ingress)
        let source = StationKey(frame.pointee.data, at: EthernetOffset.source)
        if source.isMulticast || source.rawValue == 0 || !input.pointee.isUp { return false }
        let decision = table.pointee.decide(
            source: source, destination: StationKey(frame.pointee.data, at: EthernetOffset.destination), port: input.pointee.portNumber, own: own, now: now)
        guard case .forward(let out) = decision, mayDeliver(to: out, ingress: ingress) else { return false }
        let output = interface(out)
        output.pointee.counters.sentFrames &+= 1
        output.pointee.counters.sentBytes &+= UInt64(frame.pointee.count)
        frame.pointee.device = out
        return true
    }
}
