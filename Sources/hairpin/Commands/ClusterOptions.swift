import ArgumentParser
import HairpinScenario
import HairpinWire

/// What `exec` and `get` need to boot a cluster.
struct ClusterOptions: ParsableArguments {
    @Option(
        name: [.customShort("f"), .customLong("filename"), .customLong("manifest")],
        help: "A manifest, a folder of manifests, a scenario file whose cluster to use, a built-in scenario, or - for standard input; may be repeated.",
        completion: .file(extensions: ["yaml", "yml", "json"]))
    var files: [String] = []

    @Flag(name: [.customShort("R"), .long], help: "Folders below a folder belong to it too.")
    var recursive = false

    @Option(name: .shortAndLong, help: "The namespace of the objects named.")
    var namespace = "default"

    @Option(help: "How many nodes the cluster has, in place of the scenario's.")
    var nodes: Int?

    @Option(help: "The network set-up: bridge or flannel-host-gw (the default for manifests without a scenario).")
    var cni: String?

    @Option(help: "How Services work: iptables, nftables or ipvs.")
    var proxyMode: ProxyMode?

    @Option(help: "The seed of all random choices.")
    var seed: UInt64?

    @OptionGroup var verbosity: VerbosityOptions

    func validate() throws {
        if let cni, !ClusterSettings.networks.contains(cni) {
            throw ValidationError("--cni \"\(cni)\" is not modelled. Use one of \(ClusterSettings.networks.joined(separator: ", ")).")
        }
        if let nodes, !(1...200).contains(nodes) { throw ValidationError("--nodes must be from 1 to 200.") }
    }

    /// `needsFiles`: a cluster without objects is of no use.
    func load(needsFiles: Bool = true) throws(Failure) -> LoadedScenario {
        if files.isEmpty, needsFiles { throw Failure(.usage, "Name the cluster's manifests: -f FILE.") }
        var loaded = try ScenarioFile.cluster(manifests: files, from: FileSource(isRecursive: recursive))
        if let nodes { loaded.scenario.cluster.setNodeCount(nodes) }
        if let cni {
            loaded.scenario.cluster.cni = cni
        } else if !loaded.hasScenario {
            // Manifests alone run as on a cluster with flannel: bridge ports are in hairpin mode, so that a pod reaches itself through its Service.
            loaded.scenario.cluster.cni = "flannel-host-gw"
        }
        if let proxyMode { loaded.scenario.cluster.proxyMode = proxyMode }
        if let seed { loaded.scenario.seed = seed }
        return loaded
    }

    func hooks() -> RunHooks {
        var hooks = RunHooks(log: verbosity.logger())
        hooks.isInterrupted = { Interruption.isRequested }
        return hooks
    }
}

extension ProxyMode: ExpressibleByArgument {}
