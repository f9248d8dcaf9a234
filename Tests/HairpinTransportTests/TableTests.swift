@testable import HairpinTransport
import HairpinEngine
import HairpinWire
import Testing

@Suite("Tables in raw memory")
struct TableTests {
    private func socket(_ port: UInt16, _ number: UInt32) -> DatagramSocket {
        let socket = DatagramSocket(kind: .datagram, id: SocketID(number))
        socket.local = SocketAddress(.any, port)
        return socket
    }

    private func sockets(_ table: borrowing DatagramTable, _ port: UInt16) -> [UInt32] {
        var result: [UInt32] = []
        var next = table.first(port)
        while let entry = next {
            let socket = entry.takeUnretainedValue()
            result.append(socket.id.rawValue)
            next = socket.nextOnPort
        }
        return result
    }

    @Test("UDP ports: sockets of a port keep their order while others come and go")
    func ports() {
        var table = DatagramTable()
        var reference: [UInt16: [DatagramSocket]] = [:]
        var random = SeededRandom(seed: 1, name: "ports")
        for number in 1...5000 as ClosedRange<UInt32> {
            let port = UInt16(1 + random.below(200))
            if random.below(2) == 0, let victim = reference[port]?.randomElement(using: &random) {
                table.remove(victim)
                reference[port]?.removeAll { $0 === victim }
            } else {
                let new = socket(port, number)
                table.add(new)
                reference[port, default: []].append(new)
            }
            #expect(sockets(table, port) == (reference[port] ?? []).map(\.id.rawValue))
        }
        for port in 0...201 as ClosedRange<UInt16> { #expect(sockets(table, port) == (reference[port] ?? []).map(\.id.rawValue)) }
        #expect(!table.contains(7) { $0.local.port != 7 })
    }

    @Test("the table owns its sockets")
    func ownership() {
        weak var kept: DatagramSocket?
        do {
            var table = DatagramTable()
            do {
                let socket = socket(9, 1)
                table.add(socket)
                table.add(self.socket(9, 2))
                kept = socket
            }
            #expect(kept != nil)
            #expect(sockets(table, 9) == [1, 2])
        }
        #expect(kept == nil)
    }

    @Test("an inbox gives back what was put in, in order, whatever the sizes")
    func inbox() {
        var inbox = DatagramInbox()
        defer { inbox.deallocate() }
        var waiting: [[UInt8]] = []
        var random = SeededRandom(seed: 2, name: "inbox")
        for number in 0..<5000 {
            if random.below(100) < (number / 500 % 2 == 0 ? 65 : 35) {
                let bytes = (0..<Int(random.below(number % 50 == 0 ? 9000 : 60))).map { UInt8(truncatingIfNeeded: $0 &+ number) }
                bytes.withUnsafeBytes {
                    inbox.append($0, from: SocketAddress(.loopback, UInt16(number % 1000)), timeToLive: 64, typeOfService: 0, at: Instant(nanoseconds: UInt64(number)))
                }
                waiting.append(bytes)
            } else if waiting.isEmpty {
                #expect(inbox.isEmpty && inbox.removeFirst() == nil)
            } else {
                #expect(inbox.nextCount == waiting[0].count)
                #expect(inbox.removeFirst()?.bytes == waiting.removeFirst())
            }
        }
    }

    @Test("a datagram longer than the buffer is cut")
    func cut() {
        var inbox = DatagramInbox()
        defer { inbox.deallocate() }
        for text in ["first", "second"] {
            Array(text.utf8).withUnsafeBytes { inbox.append($0, from: SocketAddress(.loopback, 1), timeToLive: 1, typeOfService: 0, at: .zero) }
        }
        var bytes = [UInt8](repeating: 0, count: 3)
        let count = bytes.withUnsafeMutableBytes { inbox.removeFirst(into: $0) }
        #expect(count == 3 && bytes == Array("fir".utf8))
        #expect(inbox.removeFirst()?.bytes == Array("second".utf8))
    }

    @Test("large blocks are reused up to a limit")
    func blocks() {
        let pool = BlockPool()
        let block = pool.take(order: 22)
        pool.give(block, order: 22)
        #expect(pool.take(order: 22) == block)
        // Five blocks of 4 MiB are more than are kept.
        let more = (0..<5).map { _ in pool.take(order: 22) }
        for other in more { pool.give(other, order: 22) }
        pool.give(block, order: 22)
        var kept = 0
        for _ in 0..<4 where more.contains(pool.take(order: 22)) { kept += 1 }
        #expect(kept == 4)
    }
}

