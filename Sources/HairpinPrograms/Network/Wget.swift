import HairpinEngine
import HairpinTransport
import HairpinWire

/// wget: GNU 1.21.3, or busybox's applet in images that carry that.
final class Wget: Program {
    private let userland: Userland
    private let options: Options
    private var urls: [String]
    private var transfer: HTTPTransfer?
    private var url: WebURL?
    private var status: Int32 = 0
    private var tries = 0, redirects = 0
    private var pauseUntil: Instant?
    private let isQuiet: Bool
    private var startedAt = Instant.zero

    init(_ arguments: [String], userland: Userland) {
        self.userland = userland
        options = Options(
            arguments, flags: "qScNvr", values: "OTtUPi",
            long: [
                ("spider", "spider"), ("quiet", "q"), ("output-document=", "O"), ("timeout=", "T"), ("tries=", "t"), ("server-response", "S"), ("header=", "header"),
                ("no-verbose", "nv"), ("post-data=", "post"), ("user-agent=", "U"), ("no-check-certificate", "k"), ("connect-timeout=", "T"), ("read-timeout=", "T"),
                ("waitretry=", "w"), ("method=", "method"), ("no-proxy", "k"),
            ])
        urls = options.operands
        isQuiet = options.has("q")
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        if options.operands.isEmpty {
            system.writeError(
                userland == .gnu
                    ? "wget: missing URL\nUsage: wget [OPTION]... [URL]...\n\nTry `wget --help' for more options.\n"
                    : "BusyBox v1.36.1: usage: wget [-cqS] [--spider] [-O FILE] [-T SEC] URL...\n")
            return .exit(1)
        }
        while true {
            if let until = pauseUntil {
                if system.now < until { return .wait(WaitSet(deadline: until)) }
                pauseUntil = nil
            }
            if transfer == nil {
                guard let next = urls.first else { return .exit(status) }
                begin(next, system)
                continue
            }
            let progress = transfer!.advance(system)
            report(transfer!.takeEvents(), system)
            switch progress {
            case .wait(let set): return .wait(set)
            case .finished(let failure): end(transfer!, failure, system)
            }
        }
    }

    private func say(_ text: String, _ system: any SystemCalls) { if !isQuiet { system.writeError(text) } }
    private var isSpider: Bool { options.has("spider") }
    private var stamp: (any SystemCalls) -> String { { CivilTime($0.now).iso } }

    private func begin(_ text: String, _ system: any SystemCalls) {
        guard let parsed = try? WebURL(text) else {
            system.writeError(userland == .gnu ? "\(text): Unsupported scheme.\n" : "wget: bad address '\(text)'\n")
            status = 1
            urls.removeFirst()
            return
        }
        url = parsed
        tries += 1
        startedAt = system.now
        var fields: [String]
        let method = options["method"] ?? (options["post"] != nil ? "POST" : isSpider && userland == .gnu ? "HEAD" : "GET")
        if userland == .gnu {
            fields = [
                "\(method) \(parsed.target) HTTP/1.1", "Host: \(parsed.hostField)", "User-Agent: \(options["U"] ?? "Wget/1.21.3")", "Accept: */*",
                "Accept-Encoding: identity", "Connection: Keep-Alive",
            ]
        } else {
            fields = ["\(method) \(parsed.target) HTTP/1.1", "Host: \(parsed.hostField)", "User-Agent: \(options["U"] ?? "Wget")", "Connection: close"]
        }
        fields += options.all("header")
        let data = Array((options["post"] ?? "").utf8)
        if options["post"] != nil { fields += ["Content-Type: application/x-www-form-urlencoded", "Content-Length: \(data.count)"] }
        var settings = HTTPTransfer.Options()
        let limit = options["T"].flatMap(parseDuration) ?? .seconds(900)
        settings.deadline = limit.isZero ? nil : system.now + limit
        settings.isHead = method == "HEAD"
        if userland == .gnu {
            if isSpider, tries == 1 { say("Spider mode enabled. Check if remote file exists.\n", system) }
            say("--\(stamp(system))--  \(parsed.description)\n", system)
            if IPv4Address(parsed.host) == nil { say("Resolving \(parsed.host) (\(parsed.host))... ", system) }
        }
        transfer = HTTPTransfer(host: parsed.host, port: parsed.port, request: Array((fields.joined(separator: "\r\n") + "\r\n\r\n").utf8) + data, options: settings)
    }

    private func report(_ events: [HTTPTransfer.Event], _ system: any SystemCalls) {
        guard let url else { return }
        let isName = IPv4Address(url.host) == nil
        for event in events {
            switch (event, userland) {
            case (.resolved(let addresses), .gnu): if isName { say(addresses.map(\.description).joined(separator: ", ") + "\n", system) }
            case (.trying(let address), .gnu):
                say("Connecting to \(isName ? "\(url.host) (\(url.host))|\(address.address)|" : url.host):\(address.port)... ", system)
            case (.trying(let address), .busybox): say("Connecting to \(url.hostField) (\(address.address):\(address.port))\n", system)
            case (.connected, .gnu): say("connected.\n", system)
            case (.failed(_, let error), .gnu): say("failed: \(error).\n", system)
            case (.requestSent, .gnu): say("HTTP request sent, awaiting response... ", system)
            case (.headReceived, .gnu):
                guard let transfer else { break }
                if options.has("S") {
                    say("\n", system)
                    for line in HTTPHead.lines(transfer.head[...]) { say("  \(line)\n", system) }
                } else {
                    say(transfer.statusLine.split(separator: " ", maxSplits: 1).dropFirst().joined() + "\n", system)
                }
            case (.headReceived, .busybox):
                if options.has("S"), let transfer { for line in HTTPHead.lines(transfer.head[...]) { system.writeError("  \(line)\n") } }
            default: break
            }
        }
    }

    private var maximumTries: Int { options["t"].flatMap { Int($0) } ?? (userland == .gnu ? 20 : 1) }

    private func giveUp(_ code: Int32, _ system: any SystemCalls) {
        status = code
        next(system)
    }
    private func next(_ system: any SystemCalls) {
        transfer?.close(system)
        transfer = nil
        urls.removeFirst()
        tries = 0
        redirects = 0
    }
    private func retry(_ system: any SystemCalls) {
        transfer?.close(system)
        transfer = nil
        say("Retrying.\n\n", system)
        pauseUntil = system.now + .seconds(Int64(min(tries, 10)))
    }

    private func end(_ transfer: HTTPTransfer, _ failure: HTTPTransfer.Failure?, _ system: any SystemCalls) {
        if let failure {
            userland == .gnu ? endGNU(failure, transfer, system) : endBusybox(failure, transfer, system)
            return
        }
        if [301, 302, 303, 307, 308].contains(transfer.status), let location = transfer.fields["Location"], redirects < 20 {
            redirects += 1
            let target = location.hasPrefix("/") ? "\(url!.scheme)://\(url!.hostField)\(location)" : location
            if userland == .gnu { say("Location: \(location) [following]\n", system) }
            transfer.close(system)
            self.transfer = nil
            urls[0] = target
            return
        }
        if transfer.status >= 400 {
            let reason = transfer.statusLine.split(separator: " ", maxSplits: 2).dropFirst(2).joined()
            if userland == .gnu {
                if isSpider {
                    say("Remote file does not exist -- broken link!!!\n\n", system)
                } else {
                    say("\(stamp(system)) ERROR \(transfer.status): \(reason).\n\n", system)
                }
                giveUp(8, system)
            } else {
                system.writeError("wget: server returned error: \(transfer.statusLine)\n")
                giveUp(1, system)
            }
            return
        }
        save(transfer, system)
    }

    private func endGNU(_ failure: HTTPTransfer.Failure, _ transfer: HTTPTransfer, _ system: any SystemCalls) {
        switch failure {
        case .resolve(let reason):
            say("failed: \(reason.message).\n", system)
            say("wget: unable to resolve host address ‘\(url?.host ?? "")’\n", system)
            giveUp(4, system)
        case .connect(let error, _):
            // Refused means nobody is there: only other failures are worth another try.
            if error == .connectionRefused || error == .networkUnreachable || tries >= maximumTries { giveUp(4, system) } else { retry(system) }
        case .connectTimeout, .timeout:
            say(transfer.connectedAt == nil ? "failed: Connection timed out.\n" : "Read error (Connection timed out) in headers.\n", system)
            tries >= maximumTries ? giveUp(4, system) : retry(system)
        case .reset(let error), .send(let error):
            say("Read error (\(error)) in headers.\n", system)
            tries >= maximumTries ? giveUp(4, system) : retry(system)
        case .emptyReply, .malformed:
            say("No data received.\n", system)
            tries >= maximumTries ? giveUp(4, system) : retry(system)
        case .partial:
            say("Connection closed at byte \(transfer.bodyCount). ", system)
            tries >= maximumTries ? giveUp(4, system) : retry(system)
        }
    }

    private func endBusybox(_ failure: HTTPTransfer.Failure, _ transfer: HTTPTransfer, _ system: any SystemCalls) {
        let message: String
        switch failure {
        case .resolve: message = "bad address '\(url?.hostField ?? "")'"
        case .connect(let error, let address): message = "can't connect to remote host (\(address?.address ?? .any)): \(error)"
        case .connectTimeout, .timeout: message = "download timed out"
        case .reset(let error), .send(let error): message = "error getting response: \(error)"
        case .emptyReply, .malformed: message = "error getting response"
        case .partial: message = "connection closed prematurely"
        }
        system.writeError("wget: \(message)\n")
        giveUp(1, system)
    }

    private func save(_ transfer: HTTPTransfer, _ system: any SystemCalls) {
        let body = transfer.takeBody()
        let type = transfer.fields["Content-Type"]?.prefix { $0 != ";" } ?? "application/octet-stream"
        if userland == .gnu { say("Length: \(transfer.contentLength.map { String($0) } ?? "unspecified") [\(type)]\n", system) }
        if isSpider {
            say(
                userland == .gnu ? "Remote file exists and could contain further links,\nbut recursion is disabled -- not retrieving.\n\n" : "remote file exists\n",
                system)
            next(system)
            return
        }
        let file =
            options["O"]
            ?? (url!.target.prefix { $0 != "?" }.split(separator: "/", omittingEmptySubsequences: false).last.flatMap { $0.isEmpty ? nil : String($0) } ?? "index.html")
        if file == "-" {
            if userland == .gnu { say("Saving to: ‘STDOUT’\n", system) } else { say("writing to stdout\n", system) }
            system.writeOutput(text(body))
        } else {
            if userland == .gnu { say("Saving to: ‘\(file)’\n", system) } else { say("saving to '\(file)'\n", system) }
            if file != "/dev/null", !system.writeFile(absolutePath(file, system), body, append: false) {
                system.writeError(
                    userland == .gnu
                        ? "\(file): No such file or directory\n\nCannot write to ‘\(file)’ (Success).\n" : "wget: can't open '\(file)': No such file or directory\n")
                giveUp(userland == .gnu ? 3 : 1, system)
                return
            }
        }
        let seconds = max(Double((system.now - startedAt).nanoseconds) / 1e9, 1e-6)
        if userland == .gnu {
            let rate = Double(body.count) / seconds
            let speed = rate >= 1_048_576 ? "\(fixed(rate / 1_048_576, 2)) MB/s" : rate >= 1024 ? "\(fixed(rate / 1024, 1)) KB/s" : "\(fixed(rate, 0)) B/s"
            let count = transfer.contentLength.map { "\(body.count)/\($0)" } ?? "\(body.count)"
            say(
                "\n     0K\(String(repeating: " ", count: 55))100% \(speed.prefix { $0 != " " })\(speed.contains("MB") ? "M" : speed.contains("KB") ? "K" : "")=\(significant(seconds < 0.001 ? 0 : seconds))s\n\n",
                system)
            say("\(stamp(system)) (\(speed)) - \(file == "-" ? "written to stdout" : "‘\(file)’ saved") [\(count)]\n\n", system)
        } else {
            let name = file == "-" ? "-" : file
            say("\(padded(String(name.prefix(20)), 20)) 100% |\(String(repeating: "*", count: 32))|\(leftPadded(body.count, 6))  0:00:00 ETA\n", system)
            say(file == "-" ? "written to stdout\n" : "'\(file)' saved\n", system)
        }
        next(system)
    }
}
