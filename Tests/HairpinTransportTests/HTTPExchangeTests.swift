import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

@Suite("The exchange of a web page")
struct HTTPExchangeTests {
    @Test("between hosts it has the packets, windows and options of Linux")
    func betweenHosts() throws {
        let world = World()
        try Peer.serve(world.b, port: 80, [.receive(74), .send(238), .sleep(1), .send(615), .receiveToEnd, .close])
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [.send(74), .receive(853), .close])
        world.run(.seconds(1))
        #expect(client.received.count == 853)
        #expect(
            world.lines == [
                "a [S] seq=0 win=64240 len=0 <mss:1460,sackOK,ts,nop,wscale:7>",
                "b [SA] seq=0 ack=1 win=65160 len=0 <mss:1460,sackOK,ts,nop,wscale:7>",
                "a [A] seq=1 ack=1 win=502 len=0",
                "a [PA] seq=1 ack=1 win=502 len=74",
                "b [A] seq=1 ack=75 win=509 len=0",
                "b [PA] seq=1 ack=75 win=509 len=238",
                "a [A] seq=75 ack=239 win=501 len=0",
                "b [PA] seq=239 ack=75 win=509 len=615",
                "a [A] seq=75 ack=854 win=497 len=0",
                "a [FA] seq=75 ack=854 win=497 len=0",
                "b [FA] seq=854 ack=76 win=509 len=0",
                "a [A] seq=76 ack=855 win=497 len=0",
            ])
        #expect(world.packets[1].ip.identification == 0)
        #expect(world.packets[0].request.dontFragment)
    }

    @Test("over lo the segment size is the interface's")
    func overLoopback() throws {
        let world = World()
        try Peer.serve(world.a, port: 80, [.receive(73), .send(238), .sleep(1), .send(615), .receiveToEnd, .close])
        _ = try Peer.connect(world.a, to: SocketAddress(.loopback, 80), [.send(73), .receive(853), .close])
        world.run(.seconds(1))
        #expect(
            world.lines == [
                "a [S] seq=0 win=65495 len=0 <mss:65495,sackOK,ts,nop,wscale:7>",
                "a [SA] seq=0 ack=1 win=65483 len=0 <mss:65495,sackOK,ts,nop,wscale:7>",
                "a [A] seq=1 ack=1 win=512 len=0",
                "a [PA] seq=1 ack=1 win=512 len=73",
                "a [A] seq=1 ack=74 win=512 len=0",
                "a [PA] seq=1 ack=74 win=512 len=238",
                "a [A] seq=74 ack=239 win=511 len=0",
                "a [PA] seq=239 ack=74 win=512 len=615",
                "a [A] seq=74 ack=854 win=507 len=0",
                "a [FA] seq=74 ack=854 win=507 len=0",
                "a [FA] seq=854 ack=75 win=512 len=0",
                "a [A] seq=75 ack=855 win=507 len=0",
            ])
    }

    @Test("a large answer leaves in bursts of half the window, and the receiver's window grows as Linux's does")
    func initialWindow() throws {
        let world = World()
        try Peer.serve(world.b, port: 80, [.receive(74), .send(241), .sleep(1), .send(30_000), .receiveToEnd, .close])
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [.send(74), .sleep(100), .receive(30_241), .close])
        world.run(.seconds(2))
        #expect(client.received == (0..<30_241).map(Peer.pattern))
        let data = world.lines.filter { $0.hasPrefix("b") && $0.hasSuffix("len=1448") }
        #expect(data.prefix(10).map { $0.contains("[PA]") } == [false, false, false, false, true, false, false, false, false, true])
        let windows = world.lines.filter { $0.hasPrefix("a [A] seq=75") }.map { $0.split(separator: " ")[4] }
        #expect(windows.dropFirst().prefix(6) == ["win=524", "win=547", "win=569", "win=590", "win=579", "win=568"])
    }
}
