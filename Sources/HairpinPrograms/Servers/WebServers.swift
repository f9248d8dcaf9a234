import HairpinEngine
import HairpinTransport
import HairpinWire

/// Apache httpd as its official image runs it.
enum Apache {
    static func program(_ arguments: [String]) -> any Program {
        var style = HTTPServerStyle(ports: [80])
        style.keepAlive = .seconds(5)
        style.bindError = { "(\($1.rawValue))\($1): AH00072: make_sock: could not bind to address 0.0.0.0:\($0)\n" }
        style.bindFinalMessage = "no listening sockets available, shutting down\nAH00015: Unable to open logs\n"
        func answer(_ status: Int, _ reason: String, _ body: String, _ request: HTTPRequest, _ system: any SystemCalls) -> HTTPResponse {
            var fields: [(String, String)] = [("Date", CivilTime(system.now).http), ("Server", "Apache/2.4.58 (Unix)")]
            if status == 200 {
                fields += [
                    ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"), ("ETag", "\"\(String(body.utf8.count, radix: 16))-60dd1e9f00000\""), ("Accept-Ranges", "bytes"),
                ]
            }
            fields.append(("Content-Length", String(body.utf8.count)))
            if request.keepsAlive { fields += [("Keep-Alive", "timeout=5, max=100"), ("Connection", "Keep-Alive")] } else { fields.append(("Connection", "close")) }
            fields.append(("Content-Type", status == 200 ? "text/html" : "text/html; charset=iso-8859-1"))
            return HTTPResponse(status, reason, fields: fields, body: Array(body.utf8))
        }
        return HTTPServer(
            style,
            completed: { request, response, client, system in
                let line = request.map { "\($0.method) \($0.target) \($0.version)" } ?? "-"
                system.writeOutput("\(client.remote.address) - - [\(CivilTime(system.now).commonLog)] \"\(line)\" \(response.status) \(response.body.count)\n")
            },
            handler: { request, _, system in
                let root = "/usr/local/apache2/htdocs"
                let path = absolutePath(root + request.path + (request.path.hasSuffix("/") ? "index.html" : ""), in: "/")
                if path.hasPrefix(root), let bytes = system.readFile(path) { return answer(200, "OK", text(bytes), request, system) }
                if path == root + "/index.html" { return answer(200, "OK", Pages.apacheWelcome, request, system) }
                return answer(
                    404, "Not Found",
                    "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>404 Not Found</title>\n</head><body>\n<h1>Not Found</h1>\n<p>The requested URL was not found on this server.</p>\n</body></html>\n",
                    request, system)
            })
    }
}

/// traefik/whoami: names itself and repeats the request.
enum WhoAmI {
    static func program(port: UInt16) -> any Program {
        let style = HTTPServerStyle(ports: [port], startMessage: "Starting up on port \(port)\n")
        return HTTPServer(style) { request, client, system in
            var body = "Hostname: \(system.hostname)\nIP: 127.0.0.1\n"
            for interface in system.interfaces() where interface.kind != "loopback" { for address in interface.addresses { body += "IP: \(address.address)\n" } }
            body += "RemoteAddr: \(client.remote)\n\(request.method) \(request.target) \(request.version)\nHost: \(request.fields["Host"] ?? "")\n"
            for field in request.fields.list.filter({ $0.name.lowercased() != "host" }).sorted(by: { $0.name < $1.name }) { body += "\(field.name): \(field.value)\n" }
            return .text(body + "\n", at: system.now)
        }
    }
}

/// hashicorp/http-echo: one text for every request.
enum HTTPEcho {
    static func program(_ arguments: [String]) -> any Program {
        var body = "hello-world"
        var port: UInt16 = 5678
        var rest = arguments[...]
        while let word = rest.popFirst() {
            let parts = word.drop { $0 == "-" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard word.hasPrefix("-"), let name = parts.first else { continue }
            let value = parts.count == 2 ? parts[1] : rest.popFirst() ?? ""
            if name == "text" { body = value }
            if name == "listen" { port = value.split(separator: ":").last.flatMap { UInt16($0) } ?? port }
        }
        let style = HTTPServerStyle(ports: [port])
        return HTTPServer(
            style,
            completed: { request, response, client, system in
                system.writeOutput(
                    "\(CivilTime(system.now).errorLog) \(request?.fields["Host"] ?? "") \(client.remote) \"\(request.map { "\($0.method) \($0.target) \($0.version)" } ?? "")\" \(response.status) \(response.body.count) \"\(request?.fields["User-Agent"] ?? "")\" 0s\n"
                )
            },
            started: { system in system.writeOutput("\(CivilTime(system.now).errorLog) [INFO] server is listening on :\(port)\n") },
            handler: { _, _, system in
                HTTPResponse(
                    200, "OK",
                    fields: [
                        ("X-App-Name", "http-echo"), ("X-App-Version", "1.0.0"), ("Date", CivilTime(system.now).http), ("Content-Length", String(body.utf8.count + 1)),
                        ("Content-Type", "text/plain; charset=utf-8"),
                    ], body: Array((body + "\n").utf8))
            })
    }
}

/// registry.k8s.io/echoserver: the request, told back by the pod.
enum EchoServer {
    static func program(port: UInt16) -> any Program {
        HTTPServer(HTTPServerStyle(ports: [port])) { request, client, system in
            var body =
                "\n\nHostname: \(system.hostname)\n\nPod Information:\n\t-no pod information available-\n\nServer values:\n\tserver_version=nginx: 1.14.2 - lua: 10015\n\n"
            body +=
                "Request Information:\n\tclient_address=\(client.remote.address)\n\tmethod=\(request.method)\n\treal path=\(request.target)\n\tquery=\n\trequest_version=1.1\n\trequest_scheme=http\n\trequest_uri=http://\(request.fields["Host"] ?? ""):\(port)\(request.target)\n\nRequest Headers:\n"
            for field in request.fields.list.sorted(by: { $0.name.lowercased() < $1.name.lowercased() }) { body += "\t\(field.name.lowercased())=\(field.value)\n" }
            body += "\nRequest Body:\n\(request.body.isEmpty ? "\t-no body in request-\n" : text(request.body))\n"
            return .text(body, at: system.now)
        }
    }
}

/// The Kubernetes end-to-end tests' agnhost: netexec, serve-hostname, porter, pause, connect.
enum Agnhost {
    static func program(_ arguments: [String]) -> any Program {
        func option(_ name: String, _ fallback: UInt16) -> UInt16 {
            for (index, word) in arguments.enumerated() {
                if word.hasPrefix("--\(name)=") { return UInt16(word.dropFirst(name.count + 3)) ?? fallback }
                if word == "--\(name)", index + 1 < arguments.count { return UInt16(arguments[index + 1]) ?? fallback }
            }
            return fallback
        }
        switch arguments.first {
        case "netexec": return Parallel([netexec(port: option("http-port", 8080)), UDPResponder(port: option("udp-port", 8081), commands: true)])
        case "serve-hostname":
            let port = option("port", 9376)
            return HTTPServer(HTTPServerStyle(ports: [port], startMessage: "Serving on port \(port).\n")) { _, _, system in .text(system.hostname, at: system.now) }
        case "porter": return Porter()
        case "connect": return Connect(Array(arguments.dropFirst()))
        case "pause", nil: return Sleep(["infinity"])
        default: return usageError("Error: unknown command \"\(arguments[0])\" for \"app\"\nRun 'app --help' for usage.\n")
        }
    }

    private static func netexec(port: UInt16) -> any Program {
        HTTPServer(HTTPServerStyle(ports: [port], startMessage: "Started HTTP server on port \(port)\n")) { request, client, system in
            switch request.path {
            case "/": .text("NOW: \(CivilTime(system.now).iso) +0000 UTC", at: system.now)
            case "/hostname", "/hostName": .text(system.hostname, at: system.now)
            case "/clientip": .text(client.remote.description, at: system.now)
            case "/echo":
                .text(
                    request.query("msg") ?? "", status: request.query("code").flatMap { Int($0) } ?? 200,
                    reason: HTTPReason.of(request.query("code").flatMap { Int($0) } ?? 200), at: system.now)
            case "/header": .text(request.fields[request.query("key") ?? ""] ?? "", at: system.now)
            case "/healthz": .text("", at: system.now)
            case "/redirect": HTTPResponse(302, "Found", fields: [("Location", request.query("location") ?? "/"), ("Content-Length", "0")], body: [])
            default: .text("404 page not found\n", status: 404, reason: "Not Found", at: system.now)
            }
        }
    }

    /// Serves each variable SERVE_PORT_N of the environment on port N.
    private final class Porter: Program {
        private var inner: Parallel?
        func resume(_ system: any SystemCalls) -> Suspension {
            if inner == nil {
                let names = system.environmentVariables.keys.sorted().filter { $0.hasPrefix("SERVE_PORT_") }
                inner = Parallel(
                    names.compactMap { name in
                        guard let port = UInt16(name.dropFirst("SERVE_PORT_".count)) else { return nil }
                        let body = system.environment(name) ?? ""
                        return HTTPServer(HTTPServerStyle(ports: [port])) { _, _, system in .text(body, at: system.now) }
                    })
            }
            return inner!.resume(system)
        }
    }

    /// `connect host:port --timeout=1s`: what went wrong in one word, as the network policy tests expect.
    private final class Connect: Program {
        private let target: String
        private var timeout = Duration.seconds(1)
        private var resolver: Resolver?
        private var socket: SocketID?
        private var deadline: Instant?
        private let port: UInt16
        init(_ arguments: [String]) {
            let operand = arguments.first { !$0.hasPrefix("-") } ?? ""
            let parts = operand.split(separator: ":")
            target = parts.first.map(String.init) ?? ""
            port = parts.count > 1 ? UInt16(parts[1]) ?? 0 : 0
            for word in arguments where word.hasPrefix("--timeout=") { timeout = parseDuration(String(word.dropFirst(10))) ?? timeout }
        }
        func resume(_ system: any SystemCalls) -> Suspension {
            func fail(_ word: String) -> Suspension {
                system.writeError(word + "\n")
                return .exit(1)
            }
            if socket == nil {
                if resolver == nil { resolver = Resolver(target) }
                switch resolver!.advance(system) {
                case .wait(let set): return .wait(set)
                case .failed: return fail("DNS")
                case .done(let addresses):
                    deadline = system.now + timeout
                    do throws(Errno) {
                        socket = try system.socket(.stream)
                        try system.connect(socket!, SocketAddress(addresses[0], port))
                    } catch { if error != .inProgress, error != .tryAgain { return fail(error == .connectionRefused ? "REFUSED" : "OTHER") } }
                }
            }
            if let error = system.takeError(socket!) { return fail(error == .connectionRefused ? "REFUSED" : error == .timedOut ? "TIMEOUT" : "OTHER") }
            if system.readiness(socket!).contains(.writable) {
                system.close(socket!)
                return .exit(0)
            }
            if system.now >= deadline! { return fail("TIMEOUT") }
            return .wait(WaitSet(sockets: [(socket!, [.writable, .error])], deadline: deadline))
        }
    }
}

/// Several programs as one process: servers with more than one socket loop. Ends when any of them ends.
final class Parallel: Program {
    private let programs: [any Program]
    init(_ programs: [any Program]) { self.programs = programs }
    func resume(_ system: any SystemCalls) -> Suspension {
        var merged = WaitSet()
        for program in programs {
            switch program.resume(system) {
            case .exit(let status): return .exit(status)
            case .wait(let set):
                merged.sockets += set.sockets
                merged.children += set.children
                merged.files += set.files
                merged.pipes += set.pipes
                if let deadline = set.deadline { merged.deadline = min(merged.deadline ?? deadline, deadline) }
            }
        }
        return .wait(merged)
    }
}

/// A UDP server that sends datagrams back, or understands netexec's few words.
final class UDPResponder: Program {
    private let port: UInt16
    private let commands: Bool
    private var socket: SocketID?
    init(port: UInt16, commands: Bool = false) { (self.port, self.commands) = (port, commands) }
    func resume(_ system: any SystemCalls) -> Suspension {
        if socket == nil {
            do throws(Errno) {
                let new = try system.socket(.datagram)
                socket = new
                try system.bind(new, SocketAddress(.any, port))
            } catch {
                system.writeError("listen udp :\(port): bind: \(error.description.lowercased())\n")
                return .exit(1)
            }
        }
        while let message = try? system.receiveMessage(socket!) {
            system.compute(ProcessorTime.request)
            var reply = message.bytes
            if commands {
                let words = text(message.bytes.filter { $0 != 10 }).split(separator: " ")
                switch words.first?.lowercased() {
                case "hostname": reply = Array(system.hostname.utf8)
                case "clientip": reply = Array(message.source.description.utf8)
                case "echo": reply = Array(words.dropFirst().joined(separator: " ").utf8)
                default: continue
                }
            }
            try? system.send(socket!, reply, to: message.source)
        }
        return .wait(WaitSet(sockets: [(socket!, .readable)]))
    }
}

/// Stands in for an image that is not known: accepts on its declared ports, answers HTTP with a page that names the pod, and discards the rest.
public final class StandInServer: Program {
    private let parallel: Parallel
    public init(image: String, ports: [(port: UInt16, proto: IPProtocol)]) {
        var programs: [any Program] = []
        let tcp = ports.filter { $0.proto == .tcp }.map(\.port)
        if !tcp.isEmpty {
            var style = HTTPServerStyle(ports: tcp)
            style.keepAlive = nil
            programs.append(
                HTTPServer(style) { request, _, system in
                    let body =
                        "<!DOCTYPE html>\n<html><head><title>\(system.hostname)</title></head>\n<body><p>\(system.hostname), standing in for \(image): \(request.method) \(request.path)</p></body></html>\n"
                    return HTTPResponse(
                        200, "OK",
                        fields: [("Date", CivilTime(system.now).http), ("Content-Type", "text/html; charset=utf-8"), ("Content-Length", String(body.utf8.count))],
                        body: Array(body.utf8))
                })
        }
        for entry in ports where entry.proto == .udp { programs.append(UDPResponder(port: entry.port)) }
        parallel = Parallel(programs)
    }
    public func resume(_ system: any SystemCalls) -> Suspension { parallel.resume(system) }
}
