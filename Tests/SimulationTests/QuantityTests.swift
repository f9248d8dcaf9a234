import HairpinEngine
import Testing

@testable import HairpinScenario

@Suite("Quantities with units")
struct QuantityTests {
    @Test(
        "Durations are exact integers of nanoseconds",
        arguments: [
            ("1s", Int64(1_000_000_000)), ("1.5ms", 1_500_000), ("50us", 50_000), ("50µs", 50_000), ("2m30s", 150_000_000_000), ("0s", 0), ("0.000000001s", 1),
            ("1h", 3_600_000_000_000),
        ])
    func durations(text: String, nanoseconds: Int64) {
        #expect(Quantity.duration(text)?.nanoseconds == nanoseconds)
    }

    @Test(
        "A duration without a unit, below a nanosecond or beyond 64 bits is refused",
        arguments: [
            "", "5", "s", "1.s", "-1s", "1.5ns", "1 s", "1sec", "9999999999999999999s", "300000h1s9999999h", "1e3s",
        ])
    func refusedDurations(text: String) {
        #expect(Quantity.duration(text) == nil)
    }

    @Test("Rates are bits per second in tc's spelling", arguments: [("10Gbit", UInt64(10_000_000_000)), ("2.5gbit", 2_500_000_000), ("64kbit", 64_000), ("800bit", 800)])
    func rates(text: String, bits: UInt64) {
        #expect(Quantity.rate(text) == bits)
    }

    @Test("Rates in bytes, without a unit or of nothing are refused", arguments: ["10Gbps", "10", "0bit", "fast", "-1Mbit"])
    func refusedRates(text: String) {
        #expect(Quantity.rate(text) == nil)
    }

    @Test("Ratios are shares from nothing to everything")
    func ratios() {
        #expect(Quantity.ratio("1%")?.billionths == 10_000_000)
        #expect(Quantity.ratio("0.05%")?.billionths == 500_000)
        #expect(Quantity.ratio("0.01")?.billionths == 10_000_000)
        #expect(Quantity.ratio("100%")?.billionths == 1_000_000_000)
        #expect(Quantity.ratio("101%") == nil)
        #expect(Quantity.ratio("1.1") == nil)
        #expect(Quantity.ratio("one") == nil)
    }

    @Test(
        "Words use the largest unit and at most three decimals",
        arguments: [
            (Int64(1_500_000_000), "1.5s"), (664_000_400, "664ms"), (1_000, "1us"), (999, "999ns"), (0, "0s"), (1_511_234_567, "1.511s"),
        ])
    func words(nanoseconds: Int64, text: String) {
        #expect(Quantity.words(Duration(nanoseconds: nanoseconds)) == text)
    }
}
