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

    private static var largestStep: Int { 64 }

    /// Learns and decides for each frame, counts it on the port it leaves by, and notes that port as the frame's device. `ports` holds the port
    /// each frame came in on. Frames are 14 bytes long or longer and stay the caller's.
    public func bridgeBurst(_ frames: UnsafeBufferPointer<FrameHandle>, from ports: UnsafePointer<InterfaceIndex>, bridge: InterfaceIndex) -> BurstResult {
        var result = BurstResult()
        let table = bridges + Int(interface(bridge).pointee.bridge)
        var start = 0
        while start < frames.count {
            let count = min(LogicalProcess.largestStep, frames.count &- start)
            let step = UnsafeBufferPointer(rebasing: frames[start..<start &+ count])
            // What is not in a near cache is asked for in advance and all at once, so that it comes in side by side: first what the frames say of
            // themselves, then their headers, then the table's entries.
            if table.pointee.isLarge { fetch(step, table) }
            decide(step, ports + start, bridge, table, &result)
            start &+= count
        }
        return result
    }

    @inline(never)
    private func fetch(_ frames: UnsafeBufferPointer<FrameHandle>, _ table: UnsafeMutablePointer<ForwardingTable>) {
        var touched: UInt64 = 0
        for frame in frames { touched ^= UInt64(frame.frame.pointee.start) }
        for frame in frames { touched ^= UInt64(frame.frame.pointee.data.load(as: UInt8.self)) }
        for frame in frames {
            let data = frame.frame.pointee.data
            touched ^= table.pointee.touch(StationKey(data, at: EthernetOffset.destination)) ^ table.pointee.touch(StationKey(data, at: EthernetOffset.source))
        }
        state.pointee.touched = touched
    }

    @inline(__always)
    private func decide(
        _ frames: UnsafeBufferPointer<FrameHandle>, _ ports: UnsafePointer<InterfaceIndex>, _ bridge: InterfaceIndex,
        _ table: UnsafeMutablePointer<ForwardingTable>, _ result: inout BurstResult
    ) {
        let own = StationKey(interface(bridge).pointee.mac)
        let now = now
        var forwarded = 0
        for n in frames.indices {
            let frame = frames[n].frame
            let ingress = ports[n]
            let input = interface(ingress)
            let source = StationKey(frame.pointee.data, at: EthernetOffset.source)
            if source.isMulticast || source.rawValue == 0 || !input.pointee.isUp { continue }
            let decision = table.pointee.decide(
                source: source, destination: StationKey(frame.pointee.data, at: EthernetOffset.destination), port: input.pointee.portNumber, own: own, now: now)
            guard case .forward(let out) = decision, mayDeliver(to: out, ingress: ingress) else { continue }
            let output = interface(out)
            output.pointee.counters.sentFrames &+= 1
            output.pointee.counters.sentBytes &+= UInt64(frame.pointee.count)
            frame.pointee.device = out
            forwarded &+= 1
        }
        result.forwarded &+= forwarded
        result.others &+= frames.count &- forwarded
    }
}
