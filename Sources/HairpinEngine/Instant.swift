/// A moment of virtual time: nanoseconds since the simulation began. Nothing below the command line reads any other clock.
@frozen
public struct Instant: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var nanoseconds: UInt64
    @inlinable @inline(__always) public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    @inlinable @inline(__always) public static var zero: Instant { Instant(nanoseconds: 0) }
    /// Later than every moment that is reached.
    @inlinable @inline(__always) public static var distantFuture: Instant { Instant(nanoseconds: .max) }

    @inlinable @inline(__always) public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
    /// Saturates at the ends.
    @inlinable @inline(__always) public static func + (a: Instant, d: Duration) -> Instant {
        if d.nanoseconds >= 0 {
            let (sum, overflow) = a.nanoseconds.addingReportingOverflow(UInt64(d.nanoseconds))
            return overflow ? .distantFuture : Instant(nanoseconds: sum)
        }
        let (difference, overflow) = a.nanoseconds.subtractingReportingOverflow(d.nanoseconds.magnitude)
        return overflow ? .zero : Instant(nanoseconds: difference)
    }
    @inlinable @inline(__always) public static func - (a: Instant, b: Instant) -> Duration { Duration(nanoseconds: Int64(bitPattern: a.nanoseconds &- b.nanoseconds)) }
    @inlinable @inline(__always) public static func - (a: Instant, d: Duration) -> Instant { a + Duration(nanoseconds: 0 &- d.nanoseconds) }
    @inlinable @inline(__always) public static func += (a: inout Instant, d: Duration) { a = a + d }

    /// Seconds with nine decimals.
    public var description: String {
        let fraction = String(nanoseconds % 1_000_000_000)
        return "\(nanoseconds / 1_000_000_000).\(String(repeating: "0", count: 9 - fraction.utf8.count))\(fraction)"
    }
}

/// A signed span of virtual time in nanoseconds.
@frozen
public struct Duration: Hashable, Comparable, Sendable {
    public var nanoseconds: Int64
    @inlinable @inline(__always) public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    @inlinable @inline(__always) public static var zero: Duration { Duration(nanoseconds: 0) }
    @inlinable @inline(__always) public static func nanoseconds(_ n: Int64) -> Duration { Duration(nanoseconds: n) }
    @inlinable @inline(__always) public static func microseconds(_ n: Int64) -> Duration { Duration(n, times: 1_000) }
    @inlinable @inline(__always) public static func milliseconds(_ n: Int64) -> Duration { Duration(n, times: 1_000_000) }
    @inlinable @inline(__always) public static func seconds(_ n: Int64) -> Duration { Duration(n, times: 1_000_000_000) }

    /// Saturates at 292 years: a manifest or a command may ask for any number of seconds.
    @inlinable init(_ n: Int64, times unit: Int64) {
        let (product, overflow) = n.multipliedReportingOverflow(by: unit)
        nanoseconds = overflow ? (n < 0 ? -Int64.max : Int64.max) : product
    }

    @inlinable @inline(__always) public static func < (a: Duration, b: Duration) -> Bool { a.nanoseconds < b.nanoseconds }
    @inlinable @inline(__always) public static func + (a: Duration, b: Duration) -> Duration { Duration(nanoseconds: a.nanoseconds &+ b.nanoseconds) }
    @inlinable @inline(__always) public static func - (a: Duration, b: Duration) -> Duration { Duration(nanoseconds: a.nanoseconds &- b.nanoseconds) }
    @inlinable @inline(__always) public static func * (a: Duration, n: Int64) -> Duration { Duration(nanoseconds: a.nanoseconds &* n) }
    @inlinable @inline(__always) public static func / (a: Duration, n: Int64) -> Duration { Duration(nanoseconds: a.nanoseconds / n) }
    @inlinable @inline(__always) public static func += (a: inout Duration, b: Duration) { a = a + b }
    @inlinable @inline(__always) public var isZero: Bool { nanoseconds == 0 }
    /// For people's eyes only; never used to compute time.
    public var milliseconds: Double { Double(nanoseconds) / 1e6 }
    public var seconds: Double { Double(nanoseconds) / 1e9 }
}
