/// The kernel's timer wheel as far as it can be seen: timers are rounded up to the granularity of the wheel's level, so they are late by up to
/// one part in eight of 63 ticks each level (`calc_index` in kernel/time/timer.c), never early. HZ is 250. Timers that were set within the same
/// tick for the same time therefore fire together.
public enum TimerWheel {
    /// Nanoseconds of a jiffy.
    public static let tick: UInt64 = 4_000_000

    public static func jiffies(_ now: Instant) -> UInt64 { now.nanoseconds / tick }

    /// Ticks for a time, rounded up as `usecs_to_jiffies` and `msecs_to_jiffies` do.
    public static func ticks(_ time: Duration) -> UInt64 { (UInt64(max(time.nanoseconds, 0)) + tick - 1) / tick }

    /// When a timer set at `now` for `ticks` from now fires, in nanoseconds.
    public static func expiry(_ now: Instant, ticks: UInt64) -> UInt64 {
        let expires = jiffies(now) + ticks
        var level: UInt64 = 0
        while level < 8, ticks >= 63 << (level * 3) { level += 1 }
        let shift = level * 3
        return (((expires >> shift) + 1) << shift) * tick
    }

    /// When a timer set at `now` for `delay` from now fires.
    public static func expiry(_ now: Instant, after delay: Duration) -> Instant { Instant(nanoseconds: expiry(now, ticks: ticks(delay))) }
}
