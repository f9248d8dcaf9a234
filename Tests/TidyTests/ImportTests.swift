import Testing

@Suite("Imports")
struct ImportTests {
    /// What each module may import; nothing else. A frame's path goes down this list, and imports go up it.
    static let allowed: [String: Set<String>] = [
        "HairpinWire": ["CProcessor"],
        "HairpinEngine": [],
        "HairpinProxy": ["HairpinWire", "HairpinEngine", "CProcessor"],
        "HairpinPolicy": ["HairpinWire"],
        "HairpinDatapath": ["HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "CProcessor"],
        // Never the datapath: protocols run in a unit test without a network.
        "HairpinTransport": ["HairpinWire", "HairpinEngine"],
        "HairpinPrograms": ["HairpinWire", "HairpinEngine", "HairpinTransport"],
        "HairpinTopology": ["HairpinWire", "HairpinEngine", "HairpinProxy"],
        "HairpinHost": [
            "HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "HairpinTopology", "HairpinDatapath", "HairpinTransport", "HairpinPrograms",
            // Threads that run logical processes, and nothing else of the system.
            "Synchronization", "Glibc", "Musl", "Darwin", "CProcessor",
        ],
        "HairpinCluster": ["HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "HairpinTopology", "Yams", "OrderedCollections", "Foundation"],
        "HairpinCapture": ["HairpinWire", "HairpinEngine", "HairpinDatapath", "CLibPCAP", "CZlib", "SystemPackage", "Glibc", "Musl", "Foundation"],
        "HairpinScenario": [
            "HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "HairpinTopology", "HairpinDatapath", "HairpinHost", "HairpinPrograms", "HairpinCluster",
            "HairpinCapture", "Logging", "Yams", "Foundation",
        ],
        "HairpinConformance": [
            "HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "HairpinTopology", "HairpinDatapath", "HairpinTransport", "HairpinHost", "HairpinPrograms",
            "HairpinCluster", "HairpinCapture", "Foundation",
        ],
    ]
    /// The command line and the benchmarks may import anything.
    static let free: Set<String> = ["hairpin", "HairpinBenchmarks"]

    @Test("Every module imports only what is below it")
    func directions() {
        #expect(SourceTree.sources.count > 100)
        let pattern =
            /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)/
        var wrong: [String] = []
        var unknown: Set<String> = []
        for file in SourceTree.sources where !Self.free.contains(file.module) {
            guard let allowed = Self.allowed[file.module] else {
                unknown.insert(file.module)
                continue
            }
            for line in file.lines {
                guard let match = line.prefixMatch(of: pattern) else { continue }
                if !allowed.contains(String(match.1)) { wrong.append("\(file.path): \(line)") }
            }
        }
        #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
        #expect(unknown.isEmpty, "modules without a rule here: \(unknown.sorted())")
    }

    @Test("Every rule is for a module that exists")
    func rulesAreAlive() {
        for module in Self.allowed.keys.sorted() { #expect(SourceTree.isFolder("Sources/\(module)"), "\(module)") }
    }

    @Test("Package.swift declares no dependency that the rules forbid")
    func manifest() throws {
        let text = try #require(SourceTree.text("Package.swift"))
        for match in text.matches(of: /library\("(\w+)", \[([^\]]*)\]/) {
            let declared = match.2.matches(of: /"(Hairpin\w+)"/).map { String($0.1) }
            let allowed = try #require(Self.allowed[String(match.1)], "\(match.1)")
            for name in declared { #expect(allowed.contains(name), "\(match.1) depends on \(name)") }
        }
    }
}
