import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

/// What unread data costs the receive buffer, seen by the windows that are left. The amounts are those that SO_MEMINFO shows on Linux 6.18 for the
/// same packets between veths.
@Suite("Kernel memory of received data")
struct ReceiveMemoryTests {
    /// The server's acknowledgments, and its client's data segments, before it reads after a second.
    private func unread(_ sends: [Peer.Step], forgetsBursts: Bool = false) throws -> (acks: [String], cut: [Bool]) {
        let world = World()
        world.forgetsBursts = forgetsBursts
        try Peer.serve(world.b, port: 7001, options: [.receiveBuffer(8192)], [.sleep(1000), .receiveToEnd, .close])
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7001), options: [.noDelay(true)], sends)
        world.run(.milliseconds(900))
        let acks = world.lines.filter { $0.hasPrefix("b [A]") }.map { $0.split(separator: " ")[3...4].joined(separator: " ") }
        return (acks, world.packets.filter { $0.from == "a" && !$0.tcp!.payload.isEmpty }.map(\.request.isCutFromBurst))
    }

    @Test("segments the sender cut from larger packets cost a slab of 2048 bytes and struct sk_buff each: eight fit where 16384 bytes are to be had")
    func bursts() throws {
        let (acks, cut) = try unread([.send(40_000)])
        #expect(cut.prefix(4) == [true, true, true, true])
        #expect(acks.prefix(3) == ["ack=1449 win=8688", "ack=2897 win=7240", "ack=4345 win=5792"])
        // The last but one before the window closes came by itself, and the last lies in what it left free.
        #expect(acks.first { $0.hasSuffix("win=0") } == "ack=11585 win=0")
        // If all of them had room left, more would fit.
        #expect(try unread([.send(40_000)], forgetsBursts: true).acks.first { $0.hasSuffix("win=0") } == "ack=18825 win=0")
    }

    @Test("a segment sent by itself leaves room for the next, which then costs nothing (tcp_try_coalesce)")
    func singles() throws {
        let (acks, cut) = try unread([.send(1448), .sleep(1), .send(1448), .sleep(1), .send(1448), .sleep(1), .send(1448), .sleep(1)])
        #expect(!cut.contains(true))
        // As recorded on Linux 6.18 from two namespaces.
        #expect(acks == ["ack=1449 win=8688", "ack=2897 win=8688", "ack=4345 win=7240", "ack=5793 win=7240"])
    }
}
