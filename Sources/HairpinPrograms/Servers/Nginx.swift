import HairpinEngine
import HairpinTransport
import HairpinWire

/// nginx, as the official image runs it.
public final class Nginx: Program {
    public struct Configuration: Sendable {
        public var ports: [UInt16] = [80]
        public var version = "1.22.1"
        /// Served for `/` in place of the welcome page.
        public var page: [UInt8]?
        /// "access_log off".
        public var logsAccess = true
        public init() {}

        /// A page of `byteCount` bytes that names the host, filled up with dots.
        public mutating func servePage(by host: String, byteCount: Int) {
            let text = Array("served by \(host)\n".utf8)
            var page = Array(text.prefix(max(0, byteCount - 1)))
            page += [UInt8](repeating: UInt8(ascii: "."), count: max(0, byteCount - 1 - page.count))
            if byteCount > 0 { page.append(10) }
            self.page = page
        }
    }

    private var configuration: Configuration
    private var server: HTTPServer?
    private var problem: (text: String, status: Int32)?
    private var root = "/usr/share/nginx/html"
    /// Directives of the configuration that would change answers and are not modelled: the error log names them.
    private var ignored: [String] = []
    private static let withoutEffect: Set<String> = [
        "add_header", "alias", "allow", "auth_basic", "deny", "error_page", "fastcgi_pass", "grpc_pass", "if", "limit_req", "map", "proxy_pass", "rewrite", "split_clients",
        "ssl_certificate", "stub_status", "sub_filter", "try_files", "upstream", "uwsgi_pass",
    ]
    private var fixedAnswers: [(path: String, status: Int, body: String)] = []

    public init(_ configuration: Configuration) { self.configuration = configuration }

    init(_ arguments: [String]) {
        configuration = Configuration()
        if arguments.contains("-v") || arguments.contains("-V") { problem = ("nginx version: nginx/\(configuration.version)\n", 0) }
        if arguments.contains("-t") {
            problem = ("nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\nnginx: configuration file /etc/nginx/nginx.conf test is successful\n", 0)
        }
        if arguments.contains("-s") { problem = ("nginx: [error] invalid PID number \"\" in \"/run/nginx.pid\"\n", 1) }
    }

    /// STOPSIGNAL SIGQUIT of the image: a graceful shutdown.
    public func terminate() -> TerminationAnswer {
        guard let server else { return .ends }
        server.drain()
        return .drains
    }

    public func resume(_ system: any SystemCalls) -> Suspension {
        if let problem {
            system.writeError(problem.text)
            return .exit(problem.status)
        }
        if server == nil {
            readConfiguration(system)
            server = makeServer()
        }
        return server!.resume(system)
    }

    /// The directives of mounted configuration that change what is seen from outside: listen, root, return.
    private func readConfiguration(_ system: any SystemCalls) {
        var ports: [UInt16] = []
        let folder = "/etc/nginx/conf.d"
        let files = (system.listFolder(folder) ?? []).filter { $0.hasSuffix(".conf") }.map { folder + "/" + $0 } + ["/etc/nginx/nginx.conf"]
        for file in files {
            guard let bytes = system.readFile(file) else { continue }
            var location = "/"
            let source = lines(text(bytes)).map { $0.prefix { $0 != "#" } }.joined(separator: " ").replacing(";", with: " ; ").replacing("{", with: " { ").replacing(
                "}", with: " } ")
            var words = source.split(whereSeparator: \.isWhitespace)[...]
            while let word = words.popFirst() {
                switch word {
                case "listen":
                    if let port = words.first?.split(separator: ":").last.flatMap({ UInt16($0) }), !ports.contains(port) { ports.append(port) }
                case "root": if let path = words.first { root = String(path) }
                case "location": location = words.first { $0.hasPrefix("/") }.map(String.init) ?? "/"
                case "return":
                    let rest = words.prefix { $0 != ";" }
                    guard let status = rest.first.flatMap({ Int($0) }) else { continue }
                    let quoted = rest.dropFirst().joined(separator: " ")
                    let body = quoted.count >= 2 && (quoted.hasPrefix("\"") || quoted.hasPrefix("'")) ? String(quoted.dropFirst().dropLast()) : quoted
                    fixedAnswers.append((location, status, unescaped(body)))
                default:
                    if Nginx.withoutEffect.contains(String(word)), !ignored.contains(String(word)) { ignored.append(String(word)) }
                }
            }
        }
        if !ports.isEmpty { configuration.ports = ports }
    }

    private func makeServer() -> HTTPServer {
        var style = HTTPServerStyle(ports: configuration.ports)
        style.separateWrites = true
        style.keepAlive = .seconds(65)
        style.noDelay = false
        style.noDelayWhenIdle = true
        style.bindError = { "nginx: [emerg] bind() to 0.0.0.0:\($0) failed (\($1.rawValue): \($1))\n" }
        style.bindAttempts = 5
        style.bindFinalMessage = "nginx: [emerg] still could not bind()\n"
        return HTTPServer(
            style, malformed: { [unowned self] in self.errorPage(400, "Bad Request", $0) }, completed: { [unowned self] in self.log($0, $1, $2, $3) },
            started: { [unowned self] system in
                let time = CivilTime(system.now).errorLog
                system.writeError(
                    "\(time) [notice] 1#1: using the \"epoll\" event method\n\(time) [notice] 1#1: nginx/\(self.configuration.version)\n\(time) [notice] 1#1: start worker processes\n"
                )
                for directive in self.ignored { system.writeError("\(time) [warn] 1#1: the directive \"\(directive)\" is not modelled and has no effect\n") }
            },
            handler: { [unowned self] in self.answer($0, $1, $2) })
    }

    private static let modified = "Mon, 01 Jan 2024 00:00:00 GMT"

    private func answer(_ request: HTTPRequest, _ client: HTTPServer.Client, _ system: any SystemCalls) -> HTTPResponse {
        if let fixed = fixedAnswers.filter({ request.path.hasPrefix($0.path) }).max(by: { $0.path.count < $1.path.count }) {
            if (301...308).contains(fixed.status), !fixed.body.isEmpty {
                var redirect = errorPage(fixed.status, HTTPReason.of(fixed.status), system, request)
                redirect.fields.append(("Location", fixed.body.hasPrefix("/") ? "http://\(request.fields["Host"] ?? "localhost")\(fixed.body)" : fixed.body))
                return redirect
            }
            if fixed.status >= 400, fixed.body.isEmpty { return errorPage(fixed.status, HTTPReason.of(fixed.status), system, request) }
            let fields = [
                ("Server", "nginx/\(configuration.version)"), ("Date", CivilTime(system.now).http), ("Content-Type", "application/octet-stream"),
                ("Content-Length", String(fixed.body.utf8.count)), ("Connection", connection(request)),
            ]
            return HTTPResponse(fixed.status, HTTPReason.of(fixed.status), fields: fields, body: Array(fixed.body.utf8))
        }
        guard ["GET", "HEAD"].contains(request.method) else { return errorPage(405, "Not Allowed", system, request) }
        let isIndex = request.path.hasSuffix("/")
        let path = absolutePath(root + HTTPRequest.percentDecoded(request.path) + (isIndex ? "index.html" : ""), in: "/")
        let content: [UInt8]
        if path.hasPrefix(root), let file = system.readFile(path) {
            content = file
        } else if path == root + "/index.html", system.listFolder(root)?.isEmpty != true || configuration.page != nil, !system.isMounted(root) {
            content = configuration.page ?? Array(Pages.nginxWelcome.utf8)
        } else if isIndex, system.isMounted(root), path == root + "/index.html" {
            logError("directory index of \"\(root)/\" is forbidden", request, client, system)
            return errorPage(403, "Forbidden", system, request)
        } else {
            logError("open() \"\(path)\" failed (2: No such file or directory)", request, client, system)
            return errorPage(404, "Not Found", system, request)
        }
        system.compute(ProcessorTime.openFile)
        return page(content, type: Pages.type(of: path), request, system)
    }

    private func connection(_ request: HTTPRequest?) -> String { request?.keepsAlive == true ? "keep-alive" : "close" }

    /// The fields in the order in which ngx_http_header_filter writes them.
    private func page(_ content: [UInt8], type: String, _ request: HTTPRequest, _ system: any SystemCalls) -> HTTPResponse {
        let tag = "\"\(hexadecimal(CivilTime.epoch, digits: 8))-\(String(content.count, radix: 16))\""
        let start: [(String, String)] = [("Server", "nginx/\(configuration.version)"), ("Date", CivilTime(system.now).http)]
        let validators: [(String, String)] = [("Last-Modified", Nginx.modified), ("Connection", connection(request)), ("ETag", tag)]
        if request.fields["If-None-Match"] == tag { return HTTPResponse(304, "Not Modified", fields: start + validators, body: []) }
        if let range = request.fields["Range"], let wanted = HTTPRange.parse(range, count: content.count) {
            guard let bounds = wanted else {
                var response = errorPage(416, "Requested Range Not Satisfiable", system, request)
                response.fields.append(("Content-Range", "bytes */\(content.count)"))
                return response
            }
            let part = Array(content[bounds])
            let fields =
                start + [("Content-Type", type), ("Content-Length", String(part.count))] + validators + [
                    ("Content-Range", "bytes \(bounds.lowerBound)-\(bounds.upperBound - 1)/\(content.count)")
                ]
            return HTTPResponse(206, "Partial Content", fields: fields, body: part)
        }
        return HTTPResponse(
            200, "OK", fields: start + [("Content-Type", type), ("Content-Length", String(content.count))] + validators + [("Accept-Ranges", "bytes")], body: content)
    }

    private func errorPage(_ status: Int, _ reason: String, _ system: any SystemCalls, _ request: HTTPRequest? = nil) -> HTTPResponse {
        let name = "nginx/\(configuration.version)"
        let title = "\(status) \(reason)"
        let body =
            "<html>\r\n<head><title>\(title)</title></head>\r\n<body>\r\n<center><h1>\(title)</h1></center>\r\n<hr><center>\(name)</center>\r\n</body>\r\n</html>\r\n"
        let fields = [
            ("Server", name), ("Date", CivilTime(system.now).http), ("Content-Type", "text/html"), ("Content-Length", String(body.utf8.count)),
            ("Connection", connection(request)),
        ]
        return HTTPResponse(status, reason, fields: fields, body: Array(body.utf8))
    }

    // MARK: Logs

    private func log(_ request: HTTPRequest?, _ response: HTTPResponse, _ client: HTTPServer.Client, _ system: any SystemCalls) {
        guard configuration.logsAccess else { return }
        let line = request.map { "\($0.method) \($0.target) \($0.version)" } ?? ""
        let sent = request?.method == "HEAD" ? 0 : response.body.count
        write(
            "\(client.remote.address) - - [\(CivilTime(system.now).commonLog)] \"\(line)\" \(response.status) \(sent) \"\(request?.fields["Referer"] ?? "-")\" \"\(request?.fields["User-Agent"] ?? "-")\" \"\(request?.fields["X-Forwarded-For"] ?? "-")\"\n",
            to: "/var/log/nginx/access.log", system
        ) { system.writeOutput($0) }
    }

    private func logError(_ message: String, _ request: HTTPRequest, _ client: HTTPServer.Client, _ system: any SystemCalls) {
        guard configuration.logsAccess else { return }
        write(
            "\(CivilTime(system.now).errorLog) [error] 29#29: *\(client.number) \(message), client: \(client.remote.address), server: localhost, request: \"\(request.method) \(request.target) \(request.version)\", host: \"\(request.fields["Host"] ?? "")\"\n",
            to: "/var/log/nginx/error.log", system
        ) { system.writeError($0) }
    }

    /// The image links its logs to the container's streams; a volume mounted over the folder gets files instead.
    private func write(_ line: String, to path: String, _ system: any SystemCalls, stream: (String) -> Void) {
        _ = system.writeFile(path, Array(line.utf8), append: true)
        if !system.isMounted(path) { stream(line) }
    }
}

enum HTTPReason {
    static func of(_ status: Int) -> String {
        let known: [(Int, String)] = [
            (200, "OK"), (201, "Created"), (204, "No Content"), (301, "Moved Permanently"), (302, "Moved Temporarily"), (303, "See Other"), (307, "Temporary Redirect"), (308, "Permanent Redirect"), (400, "Bad Request"), (403, "Forbidden"),
            (404, "Not Found"), (410, "Gone"), (429, "Too Many Requests"),
            (405, "Not Allowed"), (500, "Internal Server Error"), (502, "Bad Gateway"), (503, "Service Temporarily Unavailable"), (504, "Gateway Time-out"),
        ]
        return known.first { $0.0 == status }?.1 ?? "Status"
    }
}

/// One byte range (RFC 9110 §14.1.2).
enum HTTPRange {
    /// Nil: not a single byte range, to be ignored. `.some(nil)`: cannot be satisfied.
    static func parse(_ field: String, count: Int) -> Range<Int>?? {
        guard field.hasPrefix("bytes="), !field.contains(",") else { return nil }
        let bounds = field.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
        guard bounds.count == 2 else { return nil }
        if bounds[0].isEmpty {
            guard let suffix = Int(bounds[1]), suffix >= 0 else { return nil }
            return suffix == 0 || count == 0 ? .some(nil) : .some(max(0, count - suffix)..<count)
        }
        guard let first = Int(bounds[0]) else { return nil }
        let last = bounds[1].isEmpty ? count - 1 : Int(bounds[1]) ?? -1
        guard first < count else { return .some(nil) }
        guard last >= first else { return nil }
        return .some(first..<(min(last, count - 1) + 1))
    }
}
