import ArgumentParser
import HairpinScenario

struct GetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Boot a cluster and show its objects as kubectl would.",
        discussion: """
            The cluster is looked at when every pod is ready: a second after its boot at the earliest, a minute at the latest.

              hairpin get pods -o wide -f web.yaml
              hairpin get svc,endpointslices -A -f web.yaml
            """)

    @OptionGroup var cluster: ClusterOptions

    @Argument(help: "Kinds, separated by commas, such as pods,svc,endpointslices; then names, if only some are wanted. TYPE/NAME works too.")
    var objects: [String]

    @Option(name: .shortAndLong, help: "wide, json, yaml or name.")
    var output: String?

    @Flag(name: [.customShort("A"), .long], help: "Objects of all namespaces.")
    var allNamespaces = false

    @Option(name: [.customShort("l"), .long], help: "Only objects with these labels, such as app=web,tier!=db.")
    var selector: String?

    @Flag(help: "Add a column with all labels.")
    var showLabels = false

    @Flag(help: "Leave out the headings.")
    var noHeaders = false

    func validate() throws {
        if objects.isEmpty { throw ValidationError("Say what to get, such as pods or svc.") }
    }

    func run() throws {
        let view = try ClusterView(cluster.load(), hooks: cluster.hooks())
        var request = ObjectRequest()
        request.namespace = allNamespaces ? nil : cluster.namespace
        request.format = output
        request.words = objects
        request.selector = selector
        request.showsLabels = showLabels
        request.showsHeaders = !noHeaders
        let result = try view.get(request)
        try Output.write(result.data)
        for line in result.talk { Talk.line(line) }
        if result.isMissingSomething { try ExitStatus.notFound.finish() }
    }
}
