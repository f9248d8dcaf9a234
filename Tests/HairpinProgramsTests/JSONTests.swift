import HairpinWire
import Testing

@testable import HairpinPrograms

@Suite
struct JSONTests {
    @Test("What is written is read back the same, compact and in lines")
    func roundTrip() throws {
        let value = JSON.make([
            ("text", .string("a\"b\\c\n\u{1}é")), ("numbers", .array([.int(-3), .double(1.5), .int(0), .double(1e300)])), ("empty", .make([])), ("list", .array([])),
            ("yes", .bool(true)), ("nothing", .null), ("nested", .make([("inner", .array([.make([("x", .int(1))])]))])),
        ])
        #expect(JSON(value.compact.utf8) == value)
        #expect(JSON(value.pretty().utf8) == value)
        #expect(value["nested"]?["inner"]?.items.first?["x"]?.int == 1)
        #expect(JSON.make([("a", .int(1)), ("b", .array([.int(1), .int(2)]))]).pretty() == "{\n\t\"a\":\t1,\n\t\"b\":\t[1, 2]\n}")
    }

    @Test("What is no JSON is refused", arguments: ["", "{", "[1,", "{\"a\"}", "{\"a\":1,}", "nul", "1 2", "\"open", "\"\\u12\"", "--1", "{1:2}"])
    func malformed(text: String) { #expect(JSON(text.utf8) == nil) }

    @Test("Nesting beyond sixty-four levels is refused, not followed")
    func depth() {
        #expect(JSON((String(repeating: "[", count: 50) + String(repeating: "]", count: 50)).utf8) != nil)
        #expect(JSON(String(repeating: "[", count: 100_000).utf8) == nil)
    }

    @Test("Units and shares are written as iperf3 writes them")
    func units() {
        #expect(IPerfReport.unit(131_072, "A") == " 128 KBytes")
        #expect(IPerfReport.unit(132_000, "A") == " 129 KBytes")
        #expect(IPerfReport.unit(1_048_576, "A") == "1.00 MBytes")
        #expect(IPerfReport.unit(131_072, "a") == "1.05 Mbits")
        #expect(IPerfReport.unit(0, "a") == "0.00 bits")
        #expect(IPerfReport.unit(12_500_000, "m") == " 100 Mbits")
        #expect(IPerfReport.unit(9_995_000 / 8, "a") == "10.0 Mbits")
        #expect(IPerfReport.percent(0, of: 10) == "0" && IPerfReport.percent(1, of: 1000) == "0.1" && IPerfReport.percent(10, of: 10) == "1e+02")
        #expect(IPerfReport.percent(123, of: 1000) == "12" && IPerfReport.percent(1, of: 3) == "33" && IPerfReport.percent(12, of: 1000) == "1.2")
        #expect(IPerfReport.prefix("5", from: 0, to: 1) + IPerfReport.rate(131_072, seconds: 1, "a") == "[  5]   0.00-1.00   sec   128 KBytes  1.05 Mbits/sec")
    }
}
