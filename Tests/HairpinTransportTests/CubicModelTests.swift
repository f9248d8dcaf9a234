import Foundation
import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

/// The average window of CUBIC against the model of RFC 9438 §5: one packet in 1/p is lost, at equal distances, over a path without queues. Windows in
/// packets, times in seconds.
///
/// The model's window is a fixed point that hardly attracts: near its plateau the cubic is so flat that windows of whole packets stay what they are while
/// an epoch T is longer or shorter than K by less than (1/C)^⅓ = 1.36 s, for within that time the curve is less than a packet off the plateau. A flow
/// comes to rest within that band, on its own side. So what is tested is that the model's window is kept where a flow has it, and that the band is
/// reached from outside. (`Docs/Measuring.md` has the figures.)
@Suite("CUBIC against the model of RFC 9438")
struct CubicModelTests {
    static let c = 0.4, beta = 0.7

    /// The packets that arrive in a round trip, for each epoch between two losses. The first loss is that of packet number `first`, in slow start, which
    /// leaves a window of about so many.
    static func windows(_ algorithm: String, period: Int, milliseconds: Int64, epochs: Int, first: Double) throws -> [Double] {
        var settings = TransportSettings()
        // The model knows no limit but loss.
        (settings.tcp_rmem.2, settings.tcp_wmem.2) = (64 << 20, 64 << 20)
        let world = World(seed: 1, settings: settings)
        world.records = false
        defer { world.tearDown() }
        let half = HairpinEngine.Duration.microseconds(milliseconds * 500)
        var count = 0
        var highest: UInt32?
        var losses: [Instant] = []
        world.hasFate = true
        world.fate = { [unowned world] packet in
            guard packet.from == "a", packet.bytes.count > 100 else { return [half] }
            // What is sent again arrives: the model knows no loss of a retransmission.
            let sequence = packet.tcp!.sequence.rawValue
            if let highest, Int32(bitPattern: sequence &- highest) <= 0 { return [half] }
            highest = sequence
            count += 1
            guard count >= Int(first), (count - Int(first)) % period == 0 else { return [half] }
            losses.append(world.now)
            return []
        }
        let flow = try BulkFlow(world, algorithm: algorithm)
        while losses.count < epochs + 1, world.now.nanoseconds < 3_600_000_000_000 { world.run(.milliseconds(100)) }
        withExtendedLifetime(flow) {}
        // Every loss was repaired by recovery: a timeout would be no epoch of the model.
        #expect(world.a.stack.counters.timeouts == 0)
        var result: [Double] = []
        for n in 1..<losses.count { result.append(Double(period) * Double(milliseconds) * 1e6 / Double((losses[n] - losses[n - 1]).nanoseconds)) }
        return result
    }

    static func average(_ windows: ArraySlice<Double>) -> Double {
        // Epochs have equal packets and unequal times.
        Double(windows.count) / windows.reduce(0) { $0 + 1 / $1 }
    }

    /// RFC 9438 §5.1.
    static func cubic(_ p: Double, roundTrip: Double) -> Double { pow(c * (3 + beta) / (4 * (1 - beta)), 0.25) * pow(roundTrip, 0.75) / pow(p, 0.75) }
    /// AIMD(α, β) with α = 3(1 − β)/(1 + β): as much as Reno carries (RFC 9438 §4.3, §5.1).
    static func reno(_ p: Double) -> Double { (1.5 / p).squareRoot() }

    /// By how much an epoch at this average window is longer than the time to the plateau. W_max is 4/(3 + β) of the average.
    static func excess(_ window: Double, period: Int, roundTrip: Double) -> Double {
        Double(period) * roundTrip / window - pow(window * 4 / (3 + beta) * (1 - beta) / c, 1.0 / 3)
    }

    @Test("Where Reno carries more, CUBIC carries as much, within 10 %", arguments: ["cubic", "reno"])
    func friendly(algorithm: String) throws {
        let model = Self.reno(1e-3)
        #expect(model > 3 * Self.cubic(1e-3, roundTrip: 0.02))
        let windows = try Self.windows(algorithm, period: 1000, milliseconds: 20, epochs: 20, first: 2 * model)
        #expect((0.9...1.1).contains(Self.average(windows[10...]) / model), "\(windows)")
    }

    @Test("A flow that has the model's window keeps it, within 10 %", arguments: [(1000, 400), (10_000, 100)])
    func fixedPoint(period: Int, milliseconds: Int64) throws {
        let model = Self.cubic(1 / Double(period), roundTrip: Double(milliseconds) / 1000)
        #expect(model > 1.5 * Self.reno(1 / Double(period)))
        let windows = try Self.windows("cubic", period: period, milliseconds: milliseconds, epochs: 10, first: model)
        #expect((0.9...1.1).contains(Self.average(windows[2...]) / model), "\(model): \(windows)")
    }

    @Test("A flow that begins with twice or half the window comes to where the curve is flat", arguments: [2.0, 0.5])
    func attraction(factor: Double) throws {
        let (period, milliseconds) = (10_000, Int64(100))
        let model = Self.cubic(1e-4, roundTrip: 0.1)
        let windows = try Self.windows("cubic", period: period, milliseconds: milliseconds, epochs: 12, first: factor * model)
        let last = Self.average(windows[10...])
        #expect(abs(last - model) < abs(windows[0] - model) / 2, "\(windows)")
        #expect(abs(Self.excess(last, period: period, roundTrip: 0.1)) < pow(1 / Self.c, 1.0 / 3), "\(windows)")
    }

    /// As after slow start, which ends above. Fast convergence brings the flow down to the band, which is the narrower for the window the longer K is: from
    /// above 9 % here. (From below it takes dozens of epochs at any loss: `Docs/Measuring.md`.)
    @Test("At low loss a flow that comes from twice the window is within 10 % of the model after four epochs")
    func lowLoss() throws {
        let model = Self.cubic(1e-5, roundTrip: 0.2)
        let windows = try Self.windows("cubic", period: 100_000, milliseconds: 200, epochs: 6, first: 2 * model)
        #expect(windows[0] > 1.4 * model)
        #expect((0.9...1.1).contains(Self.average(windows[4...]) / model), "\(model): \(windows)")
    }
}
