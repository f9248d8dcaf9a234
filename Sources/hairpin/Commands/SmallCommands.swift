import ArgumentParser
import HairpinScenario

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    func run() throws {
        struct Version: Encodable { var apiVersion = "hairpin.sim/v1", kind = "Version", version = HairpinVersion.current }
        try Output.write(output == .text ? "hairpin \(HairpinVersion.current)\n" : json(Version()))
    }
}

struct CompletionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion", abstract: "Print a completion script for a shell.",
        discussion: """
              bash: hairpin completion bash > /etc/bash_completion.d/hairpin
              zsh:  hairpin completion zsh > "${fpath[1]}/_hairpin"
              fish: hairpin completion fish > ~/.config/fish/completions/hairpin.fish
            """)

    enum Shell: String, ExpressibleByArgument, CaseIterable { case bash, zsh, fish }

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run() throws {
        let script =
            switch shell {
            case .bash: Hairpin.completionScript(for: .bash)
            case .zsh: Hairpin.completionScript(for: .zsh)
            case .fish: Hairpin.completionScript(for: .fish)
            }
        try Output.write(script.hasSuffix("\n") ? script : script + "\n")
    }
}
