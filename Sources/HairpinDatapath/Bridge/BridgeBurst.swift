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
        (bridges + Int(bridge.pointee.bridge)).pointee.learn(mac, port: interface(port).pointee.portNumber, now: now)
    }

    private static var lookAhead: Int { 16 }

    /// Learns and decides for each frame, counts it on the port it leaves by, and notes that port as the frame's device. `ports` holds the port
    /// each frame came in on. Frames are 14 bytes long or longer and stay the caller's.
    public func bridgeBurst(_ frames: UnsafeBufferPointer<FrameHandle>, from ports: UnsafePointer<InterfaceIndex>, bridge: InterfaceIndex) -> BurstResult {
        var result = BurstResult()
        let table = bridges + Int(interface(bridge).pointee.bridge)
        let own = interface(bridge).pointee.mac
        let now = now
        var touched: UInt64 = 0
        withUnsafeTemporaryAllocation(of: (destination: MACAddress, source: MACAddress).self, capacity: LogicalProcess.lookAhead) { addresses in
            var start = 0
            while start < frames.count {
                let count = min(LogicalProcess.lookAhead, frames.count &- start)
                // First every header and every entry is asked for: where they are out of the cache, they come in side by side.
                for n in 0..<count {
                    let data = frames[start &+ n].frame.pointee.data
                    let pair = (destination: data.mac(EthernetOffset.destination), source: data.mac(EthernetOffset.source))
                    touched ^= table.pointee.touch(pair.destination) ^ table.pointee.touch(pair.source)
                    (addresses.baseAddress.unsafelyUnwrapped + n).initialize(to: pair)
                }
                for n in 0..<count {
                    let frame = frames[start &+ n].frame
                    let ingress = ports[start &+ n]
                    let input = interface(ingress)
                    if addresses[n].source.isMulticast || addresses[n].source.rawValue == 0 || !input.pointee.isUp {
                        result.others &+= 1
                        continue
                    }
                    let decision = table.pointee.decide(
                        source: addresses[n].source, destination: addresses[n].destination, port: input.pointee.portNumber, own: own, now: now)
                    guard case .forward(let out) = decision, mayDeliver(to: out, ingress: ingress) else {
                        result.others &+= 1
                        continue
                    }
                    let output = interface(out)
                    output.pointee.counters.sentFrames &+= 1
                    output.pointee.counters.sentBytes &+= UInt64(frame.pointee.count)
                    frame.pointee.device = out
                    result.forwarded &+= 1
                }
                start &+= count
            }
        }
        state.pointee.touched = touched
        return result
    }
}
