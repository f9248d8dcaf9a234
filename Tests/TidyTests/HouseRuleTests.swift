import Testing

@Suite("House rules")
struct HouseRuleTests {
    /// Everything below the command line and the benchmarks, which time it.
    static let model = SourceTree.sources.filter { $0.module != "hairpin" && $0.module != "HairpinBenchmarks" }

    /// No tests for what is not there: an empty list of files would pass every rule.
    @Test("The sources are found")
    func found() {
        #expect(Self.model.count > 100)
        #expect(SourceTree.tests.contains { $0.path.hasSuffix("TidyTests/HouseRuleTests.swift") })
    }

    @Test("Nothing below the command line reads a clock or the environment")
    func clocks() {
        let patterns = [
            /\bDate\(\)|\bDate\.now\b|\bDispatchTime\b|\b(?:Continuous|Suspending)Clock\b|\bCFAbsoluteTimeGetCurrent\b/, /\bsystemUptime\b|\bProcessInfo\.processInfo\b/,
            /\b(?:clock_gettime|gettimeofday|mach_absolute_time|getenv)\b|\btime\(nil\)/,
        ]
        let places = SourceTree.places(of: patterns, in: Self.model)
        #expect(places.isEmpty, "\(places.joined(separator: "\n"))")
    }

    @Test("Chance comes from a seed")
    func chance() {
        let patterns = [
            /\bSystemRandomNumberGenerator\b|\barc4random|\bUUID\(\)|\b(?:U?Int(?:8|16|32|64|128)?|Double|Float|Bool)\.random\(/,
            // Swift's hashes differ from process to process.
            /\.randomElement\(\)|\.shuffled?\(\)|\bHasher\(\)|\.hashValue\b/,
        ]
        let places = SourceTree.places(of: patterns, in: Self.model)
        #expect(places.isEmpty, "\(places.joined(separator: "\n"))")
    }

    @Test("No shared mutable state: two simulations in one process do not know of each other")
    func globals() {
        let patterns = [
            /\bnonisolated\(unsafe\)\s+(?:static\s+)?var\b/, /^(?:(?:public|package|internal|fileprivate|private)\s+)?var\s+\w+[^{]*=/,
            /^\s*(?:(?:public|package|internal|fileprivate|private)(?:\(set\))?\s+)*static\s+var\s+\w+[^{]*=/,
        ]
        let places = SourceTree.places(of: patterns, in: Self.model)
        #expect(places.isEmpty, "\(places.joined(separator: "\n"))")
    }

    @Test("Nothing gives up on input, and nothing is left for later")
    func leftovers() {
        let crashes = SourceTree.places(of: [/\btry!|\bfatalError\(/], in: SourceTree.sources)
        #expect(crashes.isEmpty, "\(crashes.joined(separator: "\n"))")
        let notes = SourceTree.places(of: [/\b(?:TODO|FIXME|XXX:|HACK:)/], in: SourceTree.sources, withComments: true)
        #expect(notes.isEmpty, "\(notes.joined(separator: "\n"))")
    }

    @Test("Every reason to drop a frame is used")
    func dropReasons() throws {
        let home = try #require(SourceTree.sources.first { $0.path.hasSuffix("HairpinDatapath/Drop.swift") })
        let cases = home.lines.prefix { !$0.contains("var words") }.filter { $0.prefixMatch(of: /\s+case\s/) != nil }.flatMap { line in
            SourceTree.code(line).split(separator: "case ", maxSplits: 1).last?.split(separator: ",").map { $0.trimmingPrefix(/\s+/).prefix { $0.isLetter } } ?? []
        }
        #expect(cases.count > 30)
        let others = SourceTree.sources.filter { $0.path != home.path }
        for name in cases {
            let isUsed = others.contains { file in
                file.lines.contains { line in
                    SourceTree.code(line).ranges(of: ".\(name)").contains { range in
                        range.upperBound == line.endIndex || !(line[range.upperBound].isLetter || line[range.upperBound].isNumber)
                    }
                }
            }
            #expect(isUsed, "DropReason.\(name) is never given")
        }
    }

    @Test("Lines fit a screen and files fit a head")
    func sizes() {
        let files = SourceTree.sources + SourceTree.tests
        let longest = 200
        // A string literal is not cut for the rule's sake, nor a row of the table of Kubernetes' fields, nor a rule as iptables-save prints it.
        func isText(_ line: some StringProtocol, in path: String) -> Bool {
            line.contains("\"") || path.hasSuffix("/KubernetesFields.swift") || line.drop { $0 == " " }.hasPrefix("-A ")
        }
        let tallest = 700
        let wide = files.flatMap { file in file.lines.enumerated().filter { $1.count > longest && !isText($1, in: file.path) }.map { "\(file.path):\($0 + 1): \($1.count) characters" } }
        #expect(wide.isEmpty, "\(wide.count) lines:\n\(wide.joined(separator: "\n"))")
        let tall = files.filter { $0.lines.count > tallest }.map { "\($0.path): \($0.lines.count) lines" }
        #expect(tall.isEmpty, "\(tall.joined(separator: "\n"))")
    }

    @Test("No empty stand-ins among the files")
    func placeholders() {
        let found = SourceTree.paths.filter { $0.hasSuffix("/Placeholder.swift") }
        #expect(found.isEmpty, "\(found)")
    }

    @Test("No text names a path of somebody's machine")
    func machines() {
        // Put together here, so that this file does not name them.
        let folders = ["work/", "root/", "tmp/hp", "Users/", "home/runner/"].map { "/" + $0 }
        var found: [String] = []
        for path in SourceTree.paths {
            guard let text = SourceTree.text(path) else { continue }
            for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                for folder in folders {
                    guard let range = line.firstRange(of: folder) else { continue }
                    // "Docs/work/" is no path of a machine; "/work/" at the start of a word is.
                    let before = range.lowerBound == line.startIndex ? " " : line[line.index(before: range.lowerBound)]
                    if !before.isLetter, !before.isNumber, before != "." { found.append("\(path):\(number + 1): \(line.prefix(120))") }
                }
            }
        }
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }
}
