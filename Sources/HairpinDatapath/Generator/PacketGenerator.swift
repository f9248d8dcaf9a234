import HairpinEngine
import HairpinWire

/// To whom a packet generator sends.
public enum GeneratorPattern: Sendable, Hashable {
    /// Every other station with the same probability.
    case uniform
    /// Always the same station.
    case fixed(Int)
    case broadcast
}

/// Addresses of the stations that generators send to, shared by all of them.
public final class StationList {
    let addresses: UnsafeMutablePointer<MACAddress>
    public let count: Int

    public init(_ addresses: [MACAddress]) {
        count = addresses.count
        self.addresses = .allocate(capacity: max(count, 1))
        for (n, address) in addresses.enumerated() { (self.addresses + n).initialize(to: address) }
    }
    deinit { addresses.deallocate() }
    public subscript(index: Int) -> MACAddress {
        precondition(index >= 0 && index < count, "no such station")
        return addresses[index]
    }
}

/// A source of frames on a device, as Linux's pktgen is (net/core/pktgen.c): below all protocols, with exponentially distributed gaps (a Poisson
/// process) drawn from a stream of its own.
///
/// The frames carry IEEE 802's EtherType for local experiments, and zeros.
///
/// Everything in it is trivial, so that an event copies no reference: the logical process holds the tables.
struct PacketGenerator {
    let device: InterfaceIndex
    let pattern: GeneratorPattern
    /// This generator's own number among the stations.
    let station: Int
    let stations: UnsafeMutablePointer<MACAddress>
    let stationCount: Int
    let template: UnsafeMutableRawPointer
    let byteCount: Int
    /// Mean time between frames, in nanoseconds.
    let meanGap: UInt64
    /// Values of an `ExponentialTable`.
    let gaps: UnsafeMutablePointer<UInt32>
    var random: SeededRandom
    var isRunning = false

    func deallocate() { template.deallocate() }

    /// Where the next frame goes. Takes the upper half of the random bits.
    @inline(__always)
    func destination(_ bits: UInt64) -> MACAddress {
        switch pattern {
        case .uniform:
            var n = Int(truncatingIfNeeded: ((bits >> 32) &* UInt64(truncatingIfNeeded: stationCount &- 1)) >> 32)
            if n >= station { n &+= 1 }
            return stations[n]
        case .fixed(let n): return stations[n]
        case .broadcast: return .broadcast
        }
    }
}

/// The inverse distribution function of the exponential distribution with mean one, as numbers with 16 binary places: 1024 points, and straight
/// lines between them. The same on every host: it is computed with additions, multiplications and divisions alone, which IEEE 754 rounds exactly.
public final class ExponentialTable {
    let values: UnsafeMutablePointer<UInt32>
    private static let points = 1024

    public init() {
        values = .allocate(capacity: ExponentialTable.points + 1)
        for n in 1...ExponentialTable.points {
            (values + n).initialize(to: UInt32(-ExponentialTable.logarithm(Double(n) / Double(ExponentialTable.points)) * 65536 + 0.5))
        }
        // The tail beyond the last point has the mean ln(1024) + 1, and so has a line from ln(1024) + 2.
        values.initialize(to: values[1] + 2 * 65536)
    }
    deinit { values.deallocate() }

    /// The natural logarithm of a number in 0 < x ≤ 1, from ln x = 2 artanh((x − 1) / (x + 1)) after halving.
    private static func logarithm(_ x: Double) -> Double {
        var x = x
        var halvings = 0.0
        while x < 0.5 {
            x *= 2
            halvings += 1
        }
        let z = (x - 1) / (x + 1)
        var power = z
        var sum = 0.0
        for n in stride(from: 1.0, to: 41, by: 2) {
            sum += power / n
            power *= z * z
        }
        return 2 * sum - halvings * 0.693_147_180_559_945_3
    }
}

extension ExponentialTable {
    /// An exponentially distributed time of this mean, at least a nanosecond. Takes the lower 26 of the random bits.
    public func time(_ bits: UInt64, mean: UInt64) -> Duration { ExponentialTable.time(values, bits, mean: mean) }

    @inline(__always)
    static func time(_ values: UnsafeMutablePointer<UInt32>, _ bits: UInt64, mean: UInt64) -> Duration {
        let n = Int(truncatingIfNeeded: bits >> 16 & 0x3ff)
        let high = UInt64(values[n])
        let value = high &- ((high &- UInt64(values[n &+ 1])) &* (bits & 0xffff)) >> 16
        return .nanoseconds(Int64(truncatingIfNeeded: (value &* mean) >> 16) &+ 1)
    }
}

extension LogicalProcess {
    /// Puts a generator on a device; it begins with `startGenerator`. `byteCount` is that of whole frames, Ethernet header included, 14 to 65 550;
    /// `station` is the device's own number in `stations`, of which there must be two or more. Returns the generator's number.
    public func makeGenerator(
        on device: InterfaceIndex, byteCount: Int, meanGap: Duration, pattern: GeneratorPattern, station: Int, stations: StationList, gaps: ExponentialTable
    ) -> Int {
        precondition(byteCount >= EthernetHeader.byteCount && byteCount <= 65_550, "a frame has room for its header, and fits a buffer")
        precondition(stations.count > 1 && meanGap > .zero && meanGap < .seconds(1 << 20), "somebody to send to, now and then")
        let template = UnsafeMutableRawPointer.allocate(byteCount: max(byteCount, 64), alignment: 64)
        template.initializeMemory(as: UInt8.self, repeating: 0, count: max(byteCount, 64))
        EthernetHeader(destination: .zero, source: stations[station], type: .localExperimental).emit(to: template)
        generatorTables += [stations, gaps]
        let number = generators.pointee.extend()
        generators.pointee[number].initialize(
            to: PacketGenerator(
                device: device, pattern: pattern, station: station, stations: stations.addresses, stationCount: stations.count, template: template,
                byteCount: byteCount, meanGap: UInt64(meanGap.nanoseconds), gaps: gaps.values,
                random: SeededRandom(seed: seed, name: "pktgen/\(namespaceName(namespaceOfInterface(device)))/\(interfaceName(device))")))
        return number
    }

    /// Sends the first frame after one gap from now.
    public func startGenerator(_ number: Int) {
        let generator = generators.pointee[number]
        guard !generator.pointee.isRunning else { return }
        generator.pointee.isRunning = true
        scheduleGenerator(UInt32(number), generator, generator.pointee.random.next())
    }

    /// Frames that reach this device, and are for it, end in a packet socket.
    public func setAbsorbing(_ device: InterfaceIndex, _ isAbsorbing: Bool) { interface(device).pointee.isAbsorbing = isAbsorbing }

    @inline(__always)
    private func scheduleGenerator(_ number: UInt32, _ generator: UnsafeMutablePointer<PacketGenerator>, _ bits: UInt64) {
        let gap = ExponentialTable.time(generator.pointee.gaps, bits, mean: generator.pointee.meanGap)
        let time = Instant(nanoseconds: now.nanoseconds &+ UInt64(bitPattern: gap.nanoseconds))
        queue.pointee.pushInline(EventKey(time, EventSource(kind: EventKind.generator.rawValue, index: number), note: 0))
    }

    /// The event of a generator's next frame.
    func generate(_ number: UInt32) {
        let generator = generators.pointee[Int(number)]
        let bits = generator.pointee.random.next()
        let frame = pool.pointee.allocate(generator.pointee.byteCount)
        let entry = pool.pointee[frame]
        let data = entry.pointee.data
        if generator.pointee.byteCount <= 64 {
            // Template and buffer have room for all of it: four moves instead of a call.
            data.copyLine(from: generator.pointee.template)
        } else {
            data.copyMemory(from: generator.pointee.template, byteCount: generator.pointee.byteCount)
        }
        data.put(generator.pointee.destination(bits), at: EthernetOffset.destination)
        entry.pointee.packetID = makePacketID()
        books.emitted &+= 1
        scheduleGenerator(number, generator, bits)
        spend(costs.transmit, bytes: UInt32(truncatingIfNeeded: generator.pointee.byteCount))
        transmitInline(frame, generator.pointee.device)
    }
}

extension UnsafeMutableRawPointer {
    /// Copies 64 bytes.
    @inline(__always)
    fileprivate func copyLine(from source: UnsafeMutableRawPointer) {
        storeBytes(of: source.load(as: SIMD64<UInt8>.self), as: SIMD64<UInt8>.self)
    }
}
