import HairpinEngine
import HairpinTransport
import HairpinWire

/// What a container runs.
public struct EntryPoint {
    /// Makes the program; called again for every restart.
    public var makeProgram: () -> any Program
    /// argv, for ps.
    public var arguments: [String]
    /// Something a person should know: the image is not known, and what stands in for it.
    public var note: String?
    /// Whose tools the image carries, for `exec`.
    public var userland: Userland
    /// Files of the image that programs look at.
    public var files: [String: [UInt8]] = [:]

    public init(arguments: [String], userland: Userland = .gnu, note: String? = nil, makeProgram: @escaping () -> any Program) {
        self.makeProgram = makeProgram
        self.arguments = arguments
        self.note = note
        self.userland = userland
    }
}

/// Container images as behaviours.
public enum ImageCatalogue {
    /// - Parameters:
    ///   - image: a reference such as "docker.io/library/nginx:1.25".
    ///   - command: replaces the image's ENTRYPOINT (Kubernetes `command`).
    ///   - arguments: replace its CMD (Kubernetes `args`).
    ///   - declaredPorts: of the container, for images that are not known.
    ///   - environment: of the container. `$(NAME)` in command and arguments has been replaced from it already.
    ///   - names: what a DNS image answers from.
    public static func entryPoint(
        image: String, command: [String]?, args arguments: [String]?, declaredPorts: [(port: UInt16, proto: IPProtocol)], environment: [String: String],
        names: (any ClusterNames)? = nil
    ) -> EntryPoint {
        let known = Image(image)
        var entry = entryPoint(known, image: image, command, arguments, declaredPorts, environment, names)
        if known.hasMusl { entry.files[ResolverConfiguration.muslLoader] = [] }
        return entry
    }

    private static func entryPoint(
        _ known: Image, image: String, _ command: [String]?, _ arguments: [String]?, _ declaredPorts: [(port: UInt16, proto: IPProtocol)],
        _ environment: [String: String], _ names: (any ClusterNames)?
    ) -> EntryPoint {
        let userland = known.userland
        let argv = (command ?? known.entry) + (arguments ?? (command == nil ? known.defaults : []))
        // Servers whose behaviour depends on more than their argv.
        if command == nil, arguments == nil || known.kind == .coreDNS || known.kind == .nginx && isNginxCommand(argv) {
            switch known.kind {
            case .nginx:
                return EntryPoint(arguments: argv.isEmpty ? ["nginx", "-g", "daemon off;"] : argv, userland: userland) {
                    var configuration = Nginx.Configuration()
                    if let version = known.version { configuration.version = version }
                    return started(Nginx(configuration), "nginx")
                }
            case .coreDNS:
                return EntryPoint(arguments: ["/coredns", "-conf", "/etc/coredns/Corefile"], userland: userland) { started(DNSServer(CoreDNSNames(names)), "coredns") }
            case .echoServer: return EntryPoint(arguments: ["nginx"], userland: userland) { started(EchoServer.program(port: 8080), "nginx") }
            default: break
            }
        }
        if known.kind == .whoAmI, command == nil {
            let port =
                (arguments ?? []).drop { !$0.hasSuffix("-port") }.dropFirst().first.flatMap { UInt16($0) } ?? environment["WHOAMI_PORT_NUMBER"].flatMap { UInt16($0) }
                ?? 80
            return EntryPoint(arguments: ["/whoami"] + (arguments ?? []), userland: userland) { started(WhoAmI.program(port: port), "whoami") }
        }
        if known.kind != .unknown || command != nil {
            guard let name = argv.first else { return exits(known.name, userland) }
            if CommandTable.program(named: name, arguments: [], userland: userland) != nil {
                return EntryPoint(arguments: argv, userland: userland) {
                    CommandTable.program(named: name, arguments: Array(argv.dropFirst()), userland: userland) ?? Immediate { _ in 127 }
                }
            }
            if name.hasPrefix("/"), argv.count >= 1, known.kind == .shell {
                return EntryPoint(arguments: argv, userland: userland) { started(ScriptFile(argv, userland: userland), "sh") }
            }
        }
        let tcp = declaredPorts.map { "\($0.port)/\($0.proto == .udp ? "udp" : "tcp")" }.joined(separator: ", ")
        let what = known.kind == .unknown ? "image \(image) is not known" : "\(argv.first ?? "its command") in image \(image) is not known"
        if declaredPorts.isEmpty {
            return EntryPoint(arguments: argv.isEmpty ? [known.name] : argv, userland: userland, note: "\(what) and declares no ports: it runs and does nothing") {
                Sleep(["infinity"])
            }
        }
        return EntryPoint(arguments: argv.isEmpty ? [known.name] : argv, userland: userland, note: "\(what): a server listening on its declared ports (\(tcp)) stands in")
        {
            started(StandInServer(image: image, ports: declaredPorts), known.name)
        }
    }

    private static func started(_ program: any Program, _ name: String) -> any Program { Started(program, cost: ProcessorTime.start(of: name)) }

    private static func isNginxCommand(_ argv: [String]) -> Bool { argv.first.map { $0 == "nginx" || $0.hasSuffix("/nginx") } ?? false }

    /// A base image's shell without a terminal ends at once.
    private static func exits(_ name: String, _ userland: Userland) -> EntryPoint {
        EntryPoint(arguments: ["sh"], userland: userland) { Immediate { _ in 0 } }
    }

    /// An image reference, taken apart and recognised by the last part of its name.
    struct Image {
        enum Kind { case nginx, shell, server, coreDNS, whoAmI, echoServer, unknown }
        var name: String
        var version: String?
        var kind = Kind.unknown
        var userland = Userland.gnu
        /// Built on Alpine, whose C library is musl; busybox's own image has glibc.
        var hasMusl: Bool
        var entry: [String] = []
        var defaults: [String] = []

        init(_ reference: String) {
            let path = reference.prefix { $0 != "@" }
            let last = path.split(separator: "/").last ?? ""
            let parts = last.split(separator: ":", maxSplits: 1)
            name = parts.first.map(String.init) ?? ""
            let tag = parts.count > 1 ? String(parts[1]) : ""
            let number = tag.prefix { $0.isNumber || $0 == "." }
            if number.split(separator: ".").count == 3 { version = String(number) }
            if tag.contains("alpine") || tag.contains("busybox") { userland = .busybox }
            hasMusl = tag.contains("alpine") || ["alpine", "curl", "alpine-curl", "netshoot", "network-multitool", "agnhost"].contains(name)
            switch name {
            case "nginx", "nginx-unprivileged", "nginx-slim":
                kind = .nginx
                defaults = ["nginx", "-g", "daemon off;"]
            case "httpd", "apache", "hello-apache", "hpa-example":
                kind = .server
                defaults = ["httpd-foreground"]
            case "busybox", "alpine":
                kind = .shell
                userland = .busybox
            case "debian", "ubuntu", "bash", "centos", "fedora", "jessie-dnsutils", "dnsutils", "netshoot", "network-multitool", "toolbox", "kubectl", "buildpack-deps",
                "amazonlinux", "rockylinux", "almalinux":
                kind = .shell
                if name == "jessie-dnsutils" || name == "dnsutils" { defaults = ["sleep", "infinity"] }
                if name == "network-multitool" {
                    kind = .nginx
                    defaults = ["nginx", "-g", "daemon off;"]
                }
            case "curl", "alpine-curl":
                kind = .shell
                entry = ["curl"]
                userland = .busybox
            case "redis", "valkey", "gb-redis-follower", "redis-leader", "redis-master", "redis-slave", "gb-redisslave":
                kind = .server
                defaults = ["redis-server"]
            case "agnhost":
                kind = .server
                entry = ["agnhost"]
                defaults = ["pause"]
            case "iperf3":
                kind = .server
                entry = ["iperf3"]
                defaults = ["-s"]
            case "netperf":
                kind = .server
                defaults = ["netserver", "-D"]
            case "pause", "pause-amd64":
                kind = .server
                entry = ["pause"]
            case "http-echo":
                kind = .server
                entry = ["http-echo"]
            case "whoami": kind = .whoAmI
            case "coredns": kind = .coreDNS
            case "echoserver": kind = .echoServer
            case "serve_hostname", "serve-hostname":
                kind = .server
                entry = ["agnhost", "serve-hostname"]
            case "hostname" where path.contains("nginxdemos") || path.contains("stenote"):
                kind = .server
                entry = ["agnhost", "serve-hostname"]
            default: break
            }
        }
    }
}

/// An executable file of the container given as a path: a script from a ConfigMap, say.
final class ScriptFile: Program {
    private let argv: [String]
    private let userland: Userland
    private var shell: Shell?
    init(_ argv: [String], userland: Userland) { (self.argv, self.userland) = (argv, userland) }
    func resume(_ system: any SystemCalls) -> Suspension {
        if shell == nil {
            guard system.readFile(argv[0]) != nil else {
                system.writeError("exec: \"\(argv[0])\": stat \(argv[0]): no such file or directory\n")
                return .exit(127)
            }
            shell = Shell(arguments: argv, userland: userland)
        }
        return shell!.resume(system)
    }
}
