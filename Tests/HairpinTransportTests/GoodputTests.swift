import Foundation
import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

/// What a connection carries over a bottleneck of 10 Mbit/s in ten seconds: loss × round trip × buffer × algorithm. Virtual time, so the same everywhere.
/// `make goodput` writes the table anew; a change of it is a change of behaviour.
@Suite("Goodput")
struct GoodputTests {
    static let algorithms = ["reno", "cubic"]
    /// Per mille of the data packets, at random from a seed.
    static let losses: [UInt32] = [0, 1, 10]
    /// Milliseconds.
    static let roundTrips: [Int64] = [10, 40, 160]
    /// Quarters of the bandwidth-delay product.
    static let buffers = [1, 4]
    static let rate: UInt64 = 10_000_000
    static let seconds: Int64 = 10
    static let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("captures/goodput.csv")
    static let header = "algorithm,loss_permille,rtt_ms,buffer_packets,goodput_kbit,retransmitted,timeouts,overflows,srtt_us\n"

    static func row(_ algorithm: String, loss: UInt32, roundTrip: Int64, quarters: Int) throws -> String {
        let world = World(seed: 1)
        world.records = false
        defer { world.tearDown() }
        let product = Int(rate) * Int(roundTrip) / 8000 / 1500
        let buffer = max(4, product * quarters / 4)
        var there = Bottleneck(rate: rate, delay: .microseconds(roundTrip * 500), buffer: buffer)
        let back = HairpinEngine.Duration.microseconds(roundTrip * 500)
        var random = SeededRandom(seed: 1, name: "goodput/\(loss)/\(roundTrip)/\(quarters)")
        world.hasFate = true
        world.fate = { [unowned world] packet in
            guard packet.from == "a" else { return [back] }
            let isLost = packet.bytes.count > 100 && random.below(1000) < loss
            // A packet that is lost on the way has taken its place in the buffer.
            guard let time = there.pass(packet.bytes.count, at: world.now) else { return [] }
            return isLost ? [] : [time]
        }
        let flow = try BulkFlow(world, algorithm: algorithm)
        world.run(.seconds(seconds))
        let statistics = world.a.stack.counters
        let kilobits = flow.received * 8 / 1000 / Int(seconds)
        return "\(algorithm),\(loss),\(roundTrip),\(buffer),\(kilobits),\(statistics.retransmitted),\(statistics.timeouts),\(there.overflows),\(flow.information.rtt)\n"
    }

    @Test("The table of loss, round trip, buffer and algorithm is what this version makes")
    func table() throws {
        var text = Self.header
        for algorithm in Self.algorithms {
            for loss in Self.losses {
                for roundTrip in Self.roundTrips {
                    for quarters in Self.buffers { text += try Self.row(algorithm, loss: loss, roundTrip: roundTrip, quarters: quarters) }
                }
            }
        }
        if ProcessInfo.processInfo.environment["HAIRPIN_WRITE_GOODPUT"] == "1" { try text.write(to: Self.file, atomically: true, encoding: .utf8) }
        let known = try String(contentsOf: Self.file, encoding: .utf8)
        #expect(text.split(separator: "\n").count == 1 + Self.algorithms.count * Self.losses.count * Self.roundTrips.count * Self.buffers.count)
        for (new, old) in zip(text.split(separator: "\n"), known.split(separator: "\n")) where new != old { Issue.record("\(new)\n was\n\(old)") }
        #expect(text == known, "captures/goodput.csv differs; \"make goodput\" writes it anew, in a change that says why")
    }

    @Test("A clean path is filled, and no cell carries more than the bottleneck")
    func bounds() throws {
        let known = try String(contentsOf: Self.file, encoding: .utf8)
        // Of 1500 bytes 1448 are data.
        let most = Int(Self.rate) / 1000 * 1448 / 1500
        for line in known.split(separator: "\n").dropFirst() {
            let fields = line.split(separator: ",")
            let kilobits = try #require(Int(fields[4]))
            #expect(kilobits <= most, "\(line)")
            // A window that goes back and forth between half the product and the whole of it, which is what Reno does without any buffer, fills three quarters
            // of the link. Within ten seconds it gets there on the shorter paths.
            if fields[1] == "0", fields[2] != "160" { #expect(kilobits > most * 3 / 4, "\(line)") }
        }
    }
}
