import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("Cables")
struct CableTests {
    @Test("rate and delay set the arrival to the nanosecond; the queue drops its tail")
    func shapedVeth() {
        let world = World(pods: 2)
        // 1 Mbit/s: 98 bytes take 784 µs. Two frames may wait behind the one being sent.
        world.process.shape(world.pods[0].eth0, CableShape(rate: 1_000_000, delay: .milliseconds(5), queueLimit: 3))
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(1))
        let before = world.seen.count
        for _ in 0..<5 { world.ping(from: 0, to: world.pods[1].address) }
        world.runFor(.seconds(1))
        let arrivals = world.seen.dropFirst(before).filter { $0.interface == world.pods[0].port && $0.direction == .inbound }.map(\.time)
        let sent = world.seen.dropFirst(before).first { $0.interface == world.pods[0].eth0 }!.time
        #expect(arrivals.count == 3)
        #expect(world.drops.filter { $0 == .linkQueueFull }.count == 2)
        // Receiving costs processor time on top of the cable's.
        let cost = Duration.nanoseconds(SoftirqCosts().receive + SoftirqCosts().perKiB * 98 / 1024)
        #expect(arrivals.first == sent + .microseconds(784) + .milliseconds(5) + cost)
        #expect(arrivals[1] - arrivals[0] == .microseconds(784))
        #expect(world.process.frameBooks.isBalanced)
    }

    @Test("a socket learns when its packet will have left a cable with a rate, and nothing of cables without")
    func departures() throws {
        let world = World(pods: 2)
        func send(socket: UInt32) throws -> UInt64 {
            let (frame, payload) = world.process.allocatePacket(58)
            payload.initializeMemory(as: UInt8.self, repeating: 0)
            var request = OutputRequest(source: world.pods[0].address, destination: world.pods[1].address, proto: .udp)
            request.socket = socket
            world.process.departure.pointee = 0
            try world.process.send(frame, request, namespace: world.pods[0].namespace)
            return world.process.departure.pointee
        }
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(1))
        #expect(try send(socket: 5) == 0)
        world.process.shape(world.pods[0].eth0, CableShape(rate: 1_000_000, delay: .milliseconds(5), queueLimit: 10))
        world.runFor(.seconds(1))
        // 92 bytes are 736 µs; the second leaves behind the first.
        let first = try send(socket: 5)
        #expect(first > 0)
        #expect(try send(socket: 6) == first + 736_000)
        #expect(try send(socket: 0) == 0)
    }

    @Test("a queue whose limit is raised while frames wait in it keeps them in order, and an absurd limit takes no memory")
    func queueGrows() {
        var ring = DepartureRing()
        func waiting(_ nanoseconds: UInt64) -> Int { ring.waiting(Instant(nanoseconds: nanoseconds)) }
        for n in 0..<100 { ring.append(Instant(nanoseconds: UInt64(n)), now: .zero, busyUntil: Instant(nanoseconds: UInt64(n))) }
        #expect(waiting(49) == 50)
        for n in 100..<1000 { ring.append(Instant(nanoseconds: UInt64(n)), now: Instant(nanoseconds: 49), busyUntil: Instant(nanoseconds: UInt64(n - 1))) }
        #expect(waiting(49) == 950)
        #expect(waiting(997) == 2)
        #expect(waiting(999) == 0)
        for n in 1000..<1003 { ring.append(Instant(nanoseconds: UInt64(n)), now: Instant(nanoseconds: 999), busyUntil: Instant(nanoseconds: UInt64(n - 1))) }
        #expect(waiting(1000) == 2)
        // Idle since 1002: nobody of before is left, whether anybody has counted or not.
        ring.append(Instant(nanoseconds: 2001), now: Instant(nanoseconds: 2000), busyUntil: Instant(nanoseconds: 1002))
        #expect(waiting(2000) == 1)
        ring.deallocate()
        let world = World(pods: 2)
        world.process.shape(world.pods[0].eth0, CableShape(rate: .max, delay: .zero, queueLimit: .max))
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(1))
        #expect(world.delivered.count == 2)
        #expect(world.drops.isEmpty)
    }

    @Test("a cut cable and a lossy one drop under their own names")
    func faults() {
        let world = World(pods: 2)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(1))
        world.process.setFault(world.pods[0].eth0, loss: 0, isCut: true)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(1))
        #expect(world.drops == [.interfaceDown])
        world.process.setFault(world.pods[0].eth0, loss: UInt32.max / 2, isCut: false)
        for _ in 0..<200 {
            world.ping(from: 0, to: world.pods[1].address)
            world.runFor(.milliseconds(1))
        }
        let lost = world.drops.filter { $0 == .linkLoss }.count
        // 200 trials at one half: 100 ± 4.5 standard deviations.
        #expect(68...132 ~= lost)
        #expect(world.process.frameBooks.isBalanced)
    }
}
