import ArgumentParser
import Foundation
import HairpinScenario

struct ScenariosCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "scenarios", abstract: "List the built-in scenarios, or show the files of one.")

    @Argument(help: "The scenario whose files to print, to learn from or to start from.")
    var name: String?

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    func run() throws {
        let all = BuiltinScenario.all
        guard !all.isEmpty else { throw Failure(.internalFault, "the built-in scenarios are missing: hairpin_HairpinScenario.resources must stand beside the program") }
        if let name {
            guard let scenario = all.first(where: { $0.name == name }) else {
                throw Failure(.notFound, "there is no built-in scenario \"\(name)\"; there are \(all.map(\.name).joined(separator: ", "))")
            }
            return try Output.write(scenario.text)
        }
        switch output {
        case .text:
            let width = all.map(\.name.count).max() ?? 0
            for scenario in all {
                try Output.write("\(scenario.name)\(String(repeating: " ", count: width - scenario.name.count))  \(scenario.summary)\n")
            }
        case .json:
            struct List: Encodable {
                struct Item: Encodable { var name: String, summary: String }
                var apiVersion = "hairpin.sim/v1", kind = "ScenarioList"
                var items: [Item]
            }
            try Output.write(json(List(items: all.map { .init(name: $0.name, summary: $0.summary) })))
        }
    }
}

/// Pretty JSON with stable key order and a final newline.
func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
}
