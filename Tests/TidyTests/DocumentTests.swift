import Foundation
import Testing

/// What the documents say about files is true. A document that does not exist says nothing.
@Suite("Documents")
struct DocumentTests {
    static let documents = SourceTree.paths.filter {
        $0 == "README.md" || $0.hasPrefix("Docs/") && $0.hasSuffix(".md") || ["captures/README.md", "CHANGELOG.md", "Sources/Peers/README.md"].contains($0)
    }

    /// The targets of Markdown links and images, outside code blocks.
    static func links(in text: String) -> [String] {
        var isCode = false
        return text.split(separator: "\n", omittingEmptySubsequences: false).flatMap { line -> [String] in
            if line.hasPrefix("```") { isCode.toggle() }
            if isCode { return [] }
            let inline = line.matches(of: /\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/).map { String($0.1) }
            let references = line.prefixMatch(of: /\[[^\]]+\]:\s+(\S+)/).map { [String($0.1)] } ?? []
            let html = line.matches(of: /(?:src|href)="([^"]+)"/).map { String($0.1) }
            return inline + references + html
        }
    }

    /// GitHub's anchor of a heading.
    static func anchor(_ heading: some StringProtocol) -> String {
        String(heading.lowercased().compactMap { $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" ? $0 : $0 == " " ? "-" : nil })
    }

    static func anchors(in text: String) -> Set<String> {
        var isCode = false
        var result: Set<String> = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("```") { isCode.toggle() }
            guard !isCode, let match = line.wholeMatch(of: /#{1,6}\s+(.*?)\s*#*/) else { continue }
            let plain = match.1.replacing(/\[([^\]]*)\]\([^)]*\)/) { $0.1 }.replacing("`", with: "").replacing("*", with: "")
            let stem = anchor(plain)
            var name = stem
            var number = 0
            while !result.insert(name).inserted {
                number += 1
                name = "\(stem)-\(number)"
            }
        }
        return result
    }

    @Test("Links to files and headings of the repository are alive", arguments: documents)
    func links(document: String) throws {
        let text = try #require(SourceTree.text(document))
        for link in Self.links(in: text) where link.firstMatch(of: /^[a-z][a-z0-9+.-]*:/) == nil {
            let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false).map { $0.removingPercentEncoding ?? String($0) }
            let folder = URL(fileURLWithPath: "/" + document).deletingLastPathComponent()
            let target = parts[0].isEmpty ? document : String(folder.appendingPathComponent(parts[0]).standardized.path.dropFirst())
            #expect(SourceTree.exists(target), "\(document): \(link)")
            if parts.count == 2, target.hasSuffix(".md"), let other = SourceTree.text(target) {
                #expect(Self.anchors(in: other).contains(parts[1]), "\(document): \(link) is no heading")
            }
        }
    }

    @Test("Every capture is listed in captures/README.md", .enabled(if: SourceTree.exists("captures/README.md")))
    func captures() throws {
        let text = try #require(SourceTree.text("captures/README.md"))
        for path in SourceTree.paths where path.hasPrefix("captures/") && path != "captures/README.md" {
            let parts = path.split(separator: "/").dropFirst()
            // A folder's captures may stand in it by their names, or under the folder's own.
            let isNamed = parts.last.map { text.contains($0) } ?? false || parts.dropLast().contains { text.contains("\($0)/") || text.contains("`\($0)`") }
            #expect(isNamed, "\(path)")
        }
    }

    @Test("Every folder of the datapath is a stop of Docs/LifeOfAFrame.md", .enabled(if: SourceTree.exists("Docs/LifeOfAFrame.md")))
    func folders() throws {
        let text = try #require(SourceTree.text("Docs/LifeOfAFrame.md"))
        let folders = Set(
            SourceTree.paths.filter { $0.hasPrefix("Sources/HairpinDatapath/") }.map { $0.split(separator: "/") }.filter { $0.count > 3 }.map { String($0[2]) })
        #expect(folders.count > 5)
        for folder in folders.sorted() { #expect(text.contains("\(folder)/") || text.contains("`\(folder)`"), "\(folder)") }
    }

    @Test("Every source and test that Docs/TCPFeatures.md names exists, and every source file of TCP is named")
    func tcpFeatures() throws {
        let text = try #require(SourceTree.text("Docs/TCPFeatures.md"))
        let transport = "Sources/HairpinTransport/"
        let named = Set(text.matches(of: /`([\w\/-]+\.(?:swift|pkt))`/).map { String($0.1) })
        #expect(named.count > 30)
        for name in named.sorted() {
            let places =
                name.hasSuffix(".pkt") ? ["Tests/ConformanceTests/Packetdrill/", "Tests/ConformanceTests/PacketdrillCurrentKernel/"]
                : name.hasSuffix("Tests.swift") ? ["Tests/HairpinTransportTests/"] : [transport, transport + "TCP/"]
            #expect(places.contains { SourceTree.exists($0 + name) }, "\(name)")
        }
        // Declarations without behaviour of their own.
        let plain: Set = ["AckFindings.swift", "Endpoint.swift", "EndpointDetails.swift"]
        for path in SourceTree.paths where path.hasPrefix(transport + "TCP/") {
            let name = String(path.split(separator: "/").last!)
            #expect(named.contains(name) || plain.contains(name), "\(path)")
        }
    }

    @Test("The built-in scenarios have their files")
    func scenarios() {
        let folders = Set(
            SourceTree.paths.filter { $0.hasPrefix("Sources/HairpinScenario/Builtin/") }.compactMap { $0.split(separator: "/").dropFirst(3).first.map(String.init) })
        for folder in folders.sorted() { #expect(SourceTree.exists("Sources/HairpinScenario/Builtin/\(folder)/scenario.yaml"), "\(folder)") }
    }
}
