import Foundation
import HairpinEngine
import Testing

@testable import HairpinScenario

@Suite("Expectations about text")
struct TextConditionTests {
    @Test(
        "A condition that holds finds nothing",
        arguments: [
            (TextCondition.contains("b"), "abc\n"), (.excludes("x"), "abc"), (.equals("abc"), "abc\n"), (.matches("^b.$"), "a\nbc\n"), (.lines(.exactly(2)), "a\nb\n"),
            (.lines(.exactly(0)), ""), (.distinctLines(2), "a\nb\na\n"), (.eachLine(.exactly(2)), "a\nb\na\nb\n"), (.counts(text: "a", Bounds(minimum: 2)), "a b a"),
            (.empty, ""),
        ])
    func holds(condition: TextCondition, text: String) {
        #expect(condition.mismatch(text) == nil)
    }

    @Test(
        "A condition that does not hold says what was found",
        arguments: [
            (TextCondition.contains("x"), "abc\n", "it is \"abc\\n\""), (.equals("abc"), "abd", "it is \"abd\""), (.lines(.exactly(2)), "a\n", "it has 1"),
            (.distinctLines(3), "a\nb\na\n", "it has 2: \"a\" × 2, \"b\" × 1"), (.eachLine(.exactly(2)), "a\na\nb\n", "it has \"a\" × 2, \"b\" × 1"),
            (.eachLine(.exactly(1)), "", "it is empty"), (.counts(text: "a", .exactly(1)), "aa", "it has it 2 times"), (.empty, "x", "it is \"x\""),
            (.matches("^c"), "abc", "it is \"abc\""),
        ])
    func fails(condition: TextCondition, text: String, found: String) {
        #expect(condition.mismatch(text) == found)
    }
}

@Suite("Reports")
struct ReportTests {
    var result: RunResult {
        var result = RunResult(scenario: "a<b", file: "t.yaml", seed: 3, status: .failed)
        result.virtualNanoseconds = 1_500_000_000
        result.expectations = [
            ExpectationResult(expectation: "page: exit status 0", passed: true, found: nil, at: "t.yaml:9", subject: "page: "),
            ExpectationResult(expectation: "page: stdout is \"x\"", passed: false, found: "it is \"\u{1}\"", at: "t.yaml:9", subject: "page: "),
        ]
        return result
    }

    @Test("JUnit is well-formed XML with the counts CI reads")
    func junit() throws {
        var broken = RunResult(scenario: "bad.yaml", file: "bad.yaml", seed: 1, status: .broken)
        broken.error = "bad.yaml:4: \"x\" & <y>"
        let xml = JUnit.xml([result, broken])
        #expect(xml.contains(#"<testsuites name="hairpin" tests="3" failures="1" errors="1">"#))
        #expect(xml.contains(#"<testsuite name="a&lt;b" tests="2" failures="1" errors="0" time="1.500000000" file="t.yaml">"#))
        #expect(xml.contains(#"<error message="bad.yaml:4: &quot;x&quot; &amp; &lt;y&gt;"/>"#))
        #expect(!xml.unicodeScalars.contains { $0.value == 1 })
    }

    @Test("JSON of one result stands alone, of several it is a list")
    func json() throws {
        let one = try #require(JSONSerialization.jsonObject(with: Data(RunResult.json([result]).utf8)) as? [String: Any])
        #expect(one["kind"] as? String == "RunResult" && one["apiVersion"] as? String == "hairpin.sim/v1")
        #expect(((one["expectations"] as? [[String: Any]])?.last?["passed"] as? Bool) == false)
        let two = try #require(JSONSerialization.jsonObject(with: Data(RunResult.json([result, result]).utf8)) as? [String: Any])
        #expect(two["kind"] as? String == "RunResultList")
        #expect((two["items"] as? [Any])?.count == 2)
    }

    @Test("The transcript groups what held and shows what failed")
    func transcript() {
        let text = Transcript(style: TextStyle()).expectations(result.expectations)
        #expect(text == "\nok page: exit status 0\nFAILED page: stdout is \"x\" (t.yaml:9)\n       it is \"\u{1}\"\n")
    }

    @Test("SHA-256 of a file read in pieces is that of its bytes")
    func fileDigest() throws {
        let folder = TemporaryFolder()
        let bytes = [UInt8](repeating: 0x61, count: 1_000_000)
        let path = folder.path + "/a"
        _ = FileManager.default.createFile(atPath: path, contents: Data(bytes))
        #expect(try FileDigest.sha256(file: path) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }
}
