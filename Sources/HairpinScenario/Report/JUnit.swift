import HairpinEngine

/// JUnit XML as CI systems read it: a suite per scenario; a case per expectation, and one for a scenario that could not run.
/// Times are virtual, so the file is the same on every run.
public enum JUnit {
    public static func xml(_ results: [RunResult]) -> String {
        let suites = results.map(suite)
        let tests = suites.reduce(0) { $0 + $1.tests }
        let failures = suites.reduce(0) { $0 + $1.failures }
        let errors = suites.reduce(0) { $0 + $1.errors }
        var lines = [#"<?xml version="1.0" encoding="UTF-8"?>"#]
        lines.append(#"<testsuites name="hairpin" tests="\#(tests)" failures="\#(failures)" errors="\#(errors)">"#)
        for suite in suites { lines += suite.lines }
        lines.append("</testsuites>")
        return lines.joined(separator: "\n") + "\n"
    }

    private static func suite(_ result: RunResult) -> (lines: [String], tests: Int, failures: Int, errors: Int) {
        var cases: [String] = []
        var failures = 0
        var errors = 0
        let seconds = decimal(result.virtualNanoseconds)
        let name = escaped(result.scenario)
        for expectation in result.expectations {
            let open = #"    <testcase classname="\#(name)" name="\#(escaped(expectation.expectation))""#
            if expectation.passed {
                cases.append(open + "/>")
            } else {
                failures += 1
                cases.append(open + ">")
                cases.append(#"      <failure message="\#(escaped(expectation.found ?? "does not hold"))">\#(escaped(expectation.at))</failure>"#)
                cases.append("    </testcase>")
            }
        }
        var tests = result.expectations.count
        switch result.status {
        case .broken, .interrupted:
            errors = 1
            tests += 1
            cases.append(#"    <testcase classname="\#(name)" name="runs">"#)
            cases.append(#"      <error message="\#(escaped(result.error ?? result.status.rawValue))"/>"#)
            cases.append("    </testcase>")
        case .passed, .failed:
            if tests == 0 {
                tests = 1
                cases.append(#"    <testcase classname="\#(name)" name="runs"/>"#)
            }
        }
        let head = #"  <testsuite name="\#(name)" tests="\#(tests)" failures="\#(failures)" errors="\#(errors)" time="\#(seconds)" file="\#(escaped(result.file))">"#
        return ([head] + cases + ["  </testsuite>"], tests, failures, errors)
    }

    private static func decimal(_ nanoseconds: UInt64) -> String { Instant(nanoseconds: nanoseconds).description }

    /// XML 1.0 attribute text: markup is escaped, and control characters that no XML file may hold are replaced.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "\n": result += "&#10;"
            case "\t": result += "&#9;"
            case "\r": result += "&#13;"
            case _ where scalar.value < 0x20 || scalar.value == 0xfffe || scalar.value == 0xffff: result += "\u{fffd}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
