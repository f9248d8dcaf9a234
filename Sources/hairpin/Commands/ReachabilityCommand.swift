import ArgumentParser
import Foundation
import HairpinCluster
import HairpinScenario

enum MatrixFormat: String, ExpressibleByArgument, CaseIterable { case table, csv, json }

struct ReachabilityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reachability", abstract: "Show which pods may reach which, by NetworkPolicies.",
        discussion: """
            A matrix of pods by pods for every port: "." may be reached, "X" may not, and below it what isolates. The tables are those that nodes \
            enforce, asked without frames; whether anybody listens on the port does not matter. With --services the columns are the Services that \
            have the port: a letter, or how many of a Service's endpoints may be reached.

              hairpin reachability -f shop.yaml
              hairpin reachability -f shop.yaml --port 80 --services
              hairpin reachability -f shop.yaml --protocol udp --port 53 --output csv
            """)

    @Option(
        name: [.customShort("f"), .customLong("filename"), .customLong("manifest")],
        help: "A manifest, a folder of manifests, a scenario file whose cluster to use, a built-in scenario, or - for standard input; may be repeated.",
        completion: .file(extensions: ["yaml", "yml", "json"]))
    var files: [String] = []

    @Flag(name: [.customShort("R"), .long], help: "Folders below a folder belong to it too.")
    var recursive = false

    @Option(help: "A port; may be repeated. All that containers (or Services) declare by default.")
    var port: [UInt16] = []

    @Option(help: "tcp, udp or sctp.")
    var `protocol` = "tcp"

    @Flag(help: "Services as columns, in place of pods.")
    var services = false

    @Flag(help: "Pods and Services of kube-system too.")
    var system = false

    @Option(name: .shortAndLong, help: "table, csv or json.")
    var output = MatrixFormat.table

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name the cluster's manifests: -f FILE.") }
        if ReachabilityView.proto(`protocol`) == nil { throw ValidationError("--protocol \"\(`protocol`)\" has no ports that policies know. Use tcp, udp or sctp.") }
        if port.contains(0) { throw ValidationError("--port must be from 1 to 65535.") }
    }

    func run() throws {
        guard let proto = ReachabilityView.proto(`protocol`) else { return }
        var view = try ReachabilityView(ScenarioFile.cluster(manifests: files, from: FileSource(isRecursive: recursive)))
        view.includesSystem = system
        for warning in view.warnings { Talk.error("warning: \(warning)") }
        let ports = port.isEmpty ? view.ports(proto, ofServices: services) : port
        guard !ports.isEmpty else {
            throw Failure(.usage, "no \(services ? "Service" : "container") declares a \(proto.rawValue) port", hint: "Name one: --port 80.")
        }
        let matrices = ports.map { services ? view.services(proto, port: $0) : view.pods(proto, port: $0) }
        switch output {
        case .table: try Output.write(matrices.map { MatrixText($0, isColoured: Colour.isWanted).text }.joined(separator: "\n"))
        case .csv: try Output.write(MatrixText.csv(matrices))
        case .json: try Output.write(json(MatrixDocument(matrices, services: services)))
        }
    }
}

/// A matrix for people.
struct MatrixText {
    let matrix: Reachability
    let isColoured: Bool

    init(_ matrix: Reachability, isColoured: Bool) {
        self.matrix = matrix
        self.isColoured = isColoured
    }

    private func sgr(_ code: String, _ text: String) -> String { isColoured ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text }

    var text: String {
        let isSquare = matrix.destinations == matrix.sources.map(\.name)
        let pairs = matrix.sources.count * matrix.destinations.count - (isSquare ? matrix.sources.count : 0)
        var text = sgr("1", "\(matrix.proto.rawValue) \(matrix.port)") + ": \(matrix.refused) of \(pairs) pairs refused\n"
        guard !matrix.sources.isEmpty, !matrix.destinations.isEmpty else { return text }
        let labels = matrix.cells.map { $0.map(MatrixText.letter) }
        let width = max(labels.joined().map(\.count).max() ?? 1, String(matrix.destinations.count).count) + 1
        let names = matrix.sources.enumerated().map { isSquare ? "\(MatrixText.left(String($0 + 1), String(matrix.sources.count).count)) \($1.name)" : $1.name }
        let margin = (names.map(\.count).max() ?? 0) + 1
        text += String(repeating: " ", count: margin) + matrix.destinations.indices.map { sgr("2", MatrixText.left(String($0 + 1), width)) }.joined() + "\n"
        for (row, name) in names.enumerated() {
            text += name + String(repeating: " ", count: margin - name.count)
            for (column, label) in labels[row].enumerated() {
                let cell = matrix.cells[row][column]
                let isSelf = isSquare && row == column
                let code = isSelf || cell.total == 0 ? "2" : !cell.isAllowed ? "31" : cell.reached < cell.total ? "33" : "32"
                text += sgr(code, MatrixText.left(label, width))
            }
            text += "\n"
        }
        if !isSquare { for (number, name) in matrix.destinations.enumerated() { text += "  \(number + 1) \(name)\n" } }
        for cause in matrix.causes { text += "  \(cause.pairs) × \(cause.text)\n" }
        return text
    }

    private static func letter(_ cell: Reachability.Cell) -> String {
        if cell.total == 0 { return "-" }
        if cell.reached == 0 { return "X" }
        return cell.reached == cell.total ? "." : "\(cell.reached)/\(cell.total)"
    }

    private static func left(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }

    /// One line for each pair (RFC 4180).
    static func csv(_ matrices: [Reachability]) -> String {
        func quoted(_ text: String) -> String { text.contains(where: { ",\"\n".contains($0) }) ? "\"\(text.replacing("\"", with: "\"\""))\"" : text }
        var text = "source,destination,protocol,port,allowed,reached,of,egress,ingress\r\n"
        for matrix in matrices {
            for (source, row) in zip(matrix.sources, matrix.cells) {
                for (destination, cell) in zip(matrix.destinations, row) {
                    let fields = [
                        source.name, destination, matrix.proto.rawValue, String(matrix.port), String(cell.isAllowed), String(cell.reached), String(cell.total),
                        cell.egress, cell.ingress,
                    ]
                    text += fields.map(quoted).joined(separator: ",") + "\r\n"
                }
            }
        }
        return text
    }
}

/// Matrices as data.
struct MatrixDocument: Encodable {
    struct Matrix: Encodable {
        var `protocol`: String
        var port: UInt16
        var sources: [String], destinations: [String]
        /// Rows by source: "." allowed, "X" refused, "-" no endpoints, "~" some endpoints only.
        var rows: [String]
        var pairs: [Pair]
    }
    struct Pair: Encodable {
        var source: String, destination: String
        var allowed: Bool
        var reached: Int, of: Int
        var egress: String, ingress: String
    }
    var apiVersion = "hairpin.sim/v1"
    var kind = "Reachability"
    /// "pods" or "services".
    var columns: String
    var matrices: [Matrix]

    init(_ matrices: [Reachability], services: Bool) {
        columns = services ? "services" : "pods"
        self.matrices = matrices.map { matrix in
            Matrix(
                protocol: matrix.proto.rawValue, port: matrix.port, sources: matrix.sources.map(\.name), destinations: matrix.destinations,
                rows: matrix.cells.map { row in String(row.map { $0.total == 0 ? "-" : $0.reached == 0 ? "X" : $0.reached == $0.total ? "." : "~" as Character }) },
                pairs: zip(matrix.sources, matrix.cells).flatMap { source, row in
                    zip(matrix.destinations, row).map { destination, cell in
                        Pair(
                            source: source.name, destination: destination, allowed: cell.isAllowed, reached: cell.reached, of: cell.total, egress: cell.egress,
                            ingress: cell.ingress)
                    }
                })
        }
    }
}
