import HairpinCluster
import HairpinEngine
import HairpinWire

/// Turns a `kind: Scenario` document into a `Scenario`. Every key is known or refused; every value is checked where it stands.
enum ScenarioReader {
    static let apiVersion = "hairpin.sim/v1"

    static func isScenario(_ document: YAMLValue) -> Bool {
        guard let kind = document["kind"], case .string("Scenario") = kind.content else { return false }
        return true
    }

    static func read(_ document: YAMLValue) throws(InputError) -> Scenario {
        try document.checkKeys(["apiVersion", "kind", "metadata", "spec"])
        let version = try document.require("apiVersion", fix: "Add \"apiVersion: \(apiVersion)\".")
        _ = try version.word(among: [apiVersion])
        let metadata = try document.require("metadata", fix: "Add \"metadata: {name: my-scenario}\".")
        try metadata.checkKeys(["name", "labels", "annotations"])
        let name = try metadata.require("name", fix: "Add \"name: my-scenario\".")
        var scenario = Scenario(name: try checkedName(name), origin: document.file)

        let spec = try document.require("spec", fix: "Add \"spec:\" with the steps of the scenario.")
        try spec.checkKeys(["summary", "seed", "until", "cluster", "manifests", "hosts", "steps", "faults", "expect", "capture", "tcpProbe"])
        scenario.summary = try spec.string("summary") ?? ""
        scenario.seed = UInt64(try spec.integer("seed", in: 0...Int.max) ?? 1)
        if let until = spec["until"] { scenario.until = .zero + (try until.duration()) }
        if let cluster = spec["cluster"] { scenario.cluster = try ClusterReader.read(cluster) }
        scenario.hosts = try outsideHosts(spec, cluster: scenario.cluster)
        scenario.steps = try steps(spec)
        for fault in try spec.items("faults") { scenario.faults += try self.faults(fault) }
        for expectation in try spec.items("expect") {
            scenario.expectations += try ExpectationReader.read(expectation, steps: scenario.steps.map(\.id))
        }
        if let capture = spec["capture"] { scenario.capture = try self.capture(capture) }
        if let probe = spec["tcpProbe"] { scenario.tcpProbe = try tcpProbe(probe) }
        return scenario
    }

    /// The files a scenario takes its objects from, as written.
    static func manifests(_ document: YAMLValue) throws(InputError) -> [YAMLValue] {
        guard let spec = document["spec"] else { return [] }
        return try spec.items("manifests")
    }

    /// A name that may become a file's name: RFC 1123 labels joined by dots.
    private static func checkedName(_ value: YAMLValue) throws(InputError) -> String {
        let name = try value.string()
        let letters = name.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x2e }
        let isEdge: (Character?) -> Bool = { $0.map { $0 != "-" && $0 != "." } ?? false }
        guard letters, isEdge(name.first), isEdge(name.last), name.utf8.count <= 253 else {
            throw value.error(problem: "is not a name", fix: "Use lower-case letters, digits, \"-\" and \".\", beginning and ending with a letter or digit.")
        }
        return name
    }

    private static func outsideHosts(_ spec: YAMLValue, cluster: ClusterSettings) throws(InputError) -> [OutsideHost] {
        var hosts: [OutsideHost] = []
        for item in try spec.items("hosts") {
            try item.checkKeys(["name", "address", "names"])
            let nameValue = try item.require("name")
            let addressValue = try item.require("address", fix: "Add \"address: 192.168.50.100\".")
            let name = try checkedName(nameValue)
            let address = try addressValue.address()
            if hosts.contains(where: { $0.name == name }) || cluster.nodes.contains(where: { $0.name == name }) {
                throw nameValue.error(problem: "is the name of another machine", fix: "Give every node and host a name of its own.")
            }
            if hosts.contains(where: { $0.address == address }) || cluster.nodes.contains(where: { $0.address == address }) {
                throw addressValue.error(problem: "is the address of another machine", fix: "Give every node and host an address of its own.")
            }
            var host = OutsideHost(name: name, address: address, position: item.position)
            for value in try item.items("names") {
                host.names.append(try Manifests.domain(value))
                if hosts.contains(where: { $0.names.contains(host.names.last!) }) {
                    throw value.error(problem: "is the name of another host", fix: "Give every host names of its own.")
                }
            }
            hosts.append(host)
        }
        return hosts
    }

    private static func steps(_ spec: YAMLValue) throws(InputError) -> [Step] {
        var steps: [Step] = []
        for (number, item) in try spec.items("steps").enumerated() {
            let change = try ChangeReader.read(item)
            let common = ["id", "at", "after"] + ChangeReader.keys
            let own = change == nil ? ["in", "container", "run", "requests", "repeat", "timeout"] : item["scale"] == nil ? [] : ["replicas"]
            try item.checkKeys(common + own)
            var id = "step \(number + 1)"
            if let value = item["id"] {
                id = try value.string()
                if id.isEmpty { throw value.error(problem: "is empty", fix: "Give the step a name, or leave the id out.") }
            }
            if steps.contains(where: { $0.id == id }) {
                throw (item["id"] ?? item).error(problem: "is the id of an earlier step", fix: "Give every step an id of its own.")
            }
            if let change {
                var step = Step(id: id, place: Place(kind: .cluster, name: "cluster"), command: change.command, position: item.position)
                step.change = change.change
                step.start = try start(of: item, after: steps)
                steps.append(step)
                continue
            }
            let placeValue = try item.require("in", fix: "Add \"in: pod/NAME\", \"deploy/NAME\", \"node/NAME\" or \"host/NAME\".")
            if let requests = item["requests"] {
                var step = Step(id: id, place: try placeValue.place(), command: "", position: item.position)
                step.container = try item.string("container")
                (step.requests, step.command) = try self.requests(requests)
                step.start = try start(of: item, after: steps)
                for key in ["repeat", "timeout"] { if let stray = item[key] { throw stray.error(problem: "belongs to a command", fix: "Write it under requests, or leave it out.") } }
                steps.append(step)
                continue
            }
            let run = try item.require("run", fix: "Add \"run:\" with the command line, such as \"curl -sS http://web/\".")
            let command = try run.scalarText()
            if command.allSatisfy(\.isWhitespace) { throw run.error(problem: "is empty", fix: "Write the command line to run.") }
            var step = Step(id: id, place: try placeValue.place(), command: command, position: item.position)
            step.container = try item.string("container")
            step.repetitions = try item.integer("repeat", in: 1...1_000_000) ?? 1
            if let timeout = item["timeout"] { step.timeout = try timeout.duration() }
            step.start = try start(of: item, after: steps)
            steps.append(step)
        }
        return steps
    }

    /// `{to: http://web/, rate: 20, for: 10s, timeout: 2s, keepAlive: false}`; a rate is requests a second.
    private static func requests(_ value: YAMLValue) throws(InputError) -> (RequestSettings, String) {
        try value.checkKeys(["to", "rate", "for", "timeout", "keepAlive"])
        let to = try value.require("to", fix: "Add \"to: http://web/\".")
        let text = try to.scalarText()
        guard text.hasPrefix("http://") else { throw to.error(problem: "is not a URL that begins with http://", fix: "Write http://NAME[:PORT]/PATH.") }
        let rest = text.dropFirst(7)
        let authority = String(rest.prefix { $0 != "/" })
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        guard let name = parts.first, !name.isEmpty, parts.count <= 2, parts.count == 1 || UInt16(parts[1]) ?? 0 > 0 else {
            throw to.error(problem: "names no host, or a port that is none", fix: "Write http://NAME[:PORT]/PATH.")
        }
        let path = rest.dropFirst(authority.count)
        let rate = try value.require("rate", fix: "Add \"rate: 20\", requests a second.").integer(in: 1...10_000, what: "requests a second")
        let duration = try value.require("for", fix: "Add \"for: 10s\".").duration()
        let count = duration.nanoseconds / 1_000_000 * Int64(rate) / 1000
        guard count >= 1, count <= 1_000_000 else {
            throw value.error(problem: "makes \(count) requests", fix: "Choose rate and time so that there are 1 to 1000000.")
        }
        var timeout = Duration.seconds(2)
        if let limit = value["timeout"] {
            timeout = try limit.duration()
            guard timeout > .zero else { throw limit.error(problem: "is no time at all", fix: "Write 1ms or more.") }
        }
        let settings = RequestSettings(
            target: parts.count == 2 ? authority : "\(name):80", host: authority, path: path.isEmpty ? "/" : String(path),
            interval: .nanoseconds(1_000_000_000 / Int64(rate)), count: Int(count), timeout: timeout, keepsAlive: try value.bool("keepAlive") ?? false)
        return (settings, "\(rate) requests/s for \(Quantity.words(duration)) to \(text)\(settings.keepsAlive ? ", connections kept alive" : "")")
    }

    private static func start(of item: YAMLValue, after steps: [Step]) throws(InputError) -> Step.Start {
        if let at = item["at"] {
            if let after = item["after"] {
                throw after.error(problem: "stands beside \"at\"", fix: "Keep one of the two: a step starts at a time or after another step.")
            }
            return .at(.zero + (try at.duration()))
        }
        guard let after = item["after"] else { return .afterPrevious }
        var stepValue = after
        var delay = Duration.zero
        if !after.isScalar {
            try after.checkKeys(["step", "delay"])
            stepValue = try after.require("step")
            if let value = after["delay"] { delay = try value.duration() }
        }
        let id = try stepValue.scalarText()
        guard steps.contains(where: { $0.id == id }) else {
            let near = nearestWord(to: id, among: steps.map(\.id)).map { "Did you mean \"\($0)\"?" } ?? "Name the id of a step that stands above this one."
            throw stepValue.error(problem: "is no earlier step", fix: near)
        }
        return .after(step: id, delay: delay)
    }

    /// One entry may hold several effects; each becomes a fault of its own.
    private static func faults(_ item: YAMLValue) throws(InputError) -> [Fault] {
        try item.checkKeys(["at", "for", "link", "loss", "delay", "down"])
        let at = Instant.zero + (try item.require("at", fix: "Add \"at: 5s\".").duration())
        let duration: Duration? = if let value = item["for"] { try value.duration() } else { nil }
        let linkValue = try item.require("link", fix: "Add \"link: node1\", \"pod/NAME\" or \"host/NAME\".")
        let text = try linkValue.scalarText()
        let link = try text.contains("/") ? linkValue.place() : Place(kind: .node, name: text)
        guard [.node, .host, .pod].contains(link.kind) else {
            throw linkValue.error(problem: "has no cable of its own", fix: "Name a node, a \"pod/NAME\" or a \"host/NAME\".")
        }
        var effects: [Fault.Effect] = []
        if let loss = item["loss"] { effects.append(.loss(try loss.ratio())) }
        if let delay = item["delay"] { effects.append(.delay(try delay.duration())) }
        if let down = item["down"], try down.bool() { effects.append(.down) }
        guard !effects.isEmpty else { throw item.error(problem: "does nothing", fix: "Add \"loss: 1%\", \"delay: 5ms\" or \"down: true\".") }
        return effects.map { Fault(at: at, duration: duration, link: link, effect: $0, position: item.position) }
    }

    private static func capture(_ value: YAMLValue) throws(InputError) -> CaptureSettings {
        try value.checkKeys(["interfaces", "filter"])
        var settings = CaptureSettings()
        if let patterns = try value.strings("interfaces") { settings.interfaces = patterns }
        settings.filter = try value.string("filter") ?? ""
        settings.position = value["filter"]?.position ?? value.position
        return settings
    }

    private static func tcpProbe(_ value: YAMLValue) throws(InputError) -> TCPProbeSettings {
        try value.checkKeys(["hosts", "ports", "full"])
        var settings = TCPProbeSettings()
        if let hosts = try value.strings("hosts") { settings.hosts = hosts }
        for port in try value.items("ports") {
            guard let number = UInt16(try port.scalarText()), number > 0 else {
                throw port.error(problem: "is not a port", fix: "Write numbers from 1 to 65535, such as [80, 5201].")
            }
            settings.ports.append(number)
        }
        if let full = value["full"] { settings.full = try full.bool() }
        return settings
    }
}

// MARK: Values with units and names

extension YAMLValue {
    var position: Position { Position(file: file, line: line) }

    func duration() throws(InputError) -> Duration {
        let text = try scalarText()
        guard let duration = Quantity.duration(text) else {
            let isBare = !text.isEmpty && text.allSatisfy { $0.isNumber || $0 == "." }
            throw error(
                problem: isBare ? "has no unit" : "is not a duration",
                fix: isBare ? "Write \"\(text)s\" for seconds, or use ms, us, ns, m, h." : "Write a number and a unit, such as 1s, 1.5ms, 50us or 2m.")
        }
        return duration
    }

    func rate() throws(InputError) -> UInt64 {
        guard let rate = Quantity.rate(try scalarText()) else {
            throw error(problem: "is not a rate", fix: "Write a number and a unit, such as 10Gbit, 100Mbit or 64kbit.")
        }
        return rate
    }

    func ratio() throws(InputError) -> Ratio {
        guard let ratio = Quantity.ratio(try scalarText()) else {
            throw error(problem: "is not a share from 0 to 1", fix: "Write a percentage such as 1%, or a fraction such as 0.01.")
        }
        return ratio
    }

    func address() throws(InputError) -> IPv4Address {
        guard let address = IPv4Address(try scalarText()) else {
            throw error(problem: "is not an IPv4 address", fix: "Write four numbers from 0 to 255, such as 192.168.50.11.")
        }
        return address
    }

    func prefix() throws(InputError) -> IPv4Prefix {
        let text = try scalarText()
        guard text.contains("/"), let prefix = IPv4Prefix(text) else {
            throw error(problem: "is not a range of addresses", fix: "Write an address and a prefix length, such as 10.244.0.0/16.")
        }
        return prefix
    }

    func place() throws(InputError) -> Place {
        let text = try scalarText()
        guard let place = Place(text) else {
            let kinds = Place.spellings.flatMap(\.words)
            let near = text.split(separator: "/").first.flatMap { nearestWord(to: String($0), among: kinds) }
            throw error(
                problem: "is not a place",
                fix: (near.map { "Did you mean \"\($0)/…\"? " } ?? "") + "Write pod/NAME, deploy/NAME, sts/NAME, ds/NAME, job/NAME, svc/NAME, node/NAME or host/NAME.")
        }
        return place
    }
}
