import HairpinEngine
import HairpinTransport
import HairpinWire

/// curl 7.88.1, for HTTP.
final class Curl: Program {
    private var options = CurlOptions()
    private let arguments: [String]
    private var isStarted = false
    private var urls: [String] = []
    private var index = 0
    private var url: WebURL?
    private var transfer: HTTPTransfer?
    private var idle: (socket: SocketID, host: String, port: UInt16)?
    private var redirects = 0, connections = 0, retriesDone = 0, newConnections = 0
    private var sleepUntil: Instant?
    private var status: Int32 = 0
    private var startedAt = Instant.zero, deadline: Instant?
    private var redirectTarget: String?
    private var output: [UInt8] = []
    private var meterShown = false

    init(_ arguments: [String]) { self.arguments = arguments }

    func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            outputIsRedirected = system.streams.output != .terminal
            if let failure = options.parse(arguments) {
                system.writeError(failure)
                return .exit(2)
            }
            if options.showsVersion {
                system.writeOutput(
                    "curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1 OpenSSL/3.0.19\nRelease-Date: 2023-02-20\nProtocols: http https\nFeatures: HTTPS-proxy\n")
                return .exit(0)
            }
            urls = options.urls.flatMap(CurlOptions.globbed)
            if urls.isEmpty {
                system.writeError("curl: no URL specified!\ncurl: try 'curl --help' or 'curl --manual' for more information\n")
                return .exit(2)
            }
        }
        while true {
            if let until = sleepUntil {
                if system.now < until { return .wait(WaitSet(deadline: until)) }
                sleepUntil = nil
            }
            if transfer == nil {
                guard index < urls.count else {
                    if let idle { system.close(idle.socket) }
                    return .exit(status)
                }
                if !begin(redirectTarget ?? urls[index], system) { continue }
            }
            guard let transfer else { continue }
            let progress = transfer.advance(system)
            report(transfer.takeEvents(), system)
            switch progress {
            case .wait(let set): return .wait(set)
            case .finished(let failure): end(transfer, failure, system)
            }
        }
    }

    // MARK: One transfer

    private func begin(_ text: String, _ system: any SystemCalls) -> Bool {
        if redirectTarget == nil {
            startedAt = system.now
            // libcurl's timers count whole milliseconds and fire in the one after.
            deadline = options.maximumTime.map { system.now + $0 + .milliseconds(1) }
            output = []
        }
        let parsed: WebURL
        do throws(WebURL.Failure) {
            parsed = try WebURL(text)
        } catch {
            switch error {
            case .malformed: complete(code: 3, message: "URL using bad/illegal format or missing URL", system)
            case .unsupportedScheme(let scheme): complete(code: 1, message: "Protocol \"\(scheme)\" not supported or disabled in libcurl", system)
            }
            return false
        }
        url = parsed
        let request = parsed.scheme == "https" ? TLSClientHello.bytes(host: parsed.host, random: { system.random() }) : options.request(parsed)
        var settings = HTTPTransfer.Options()
        settings.resolveFamily = options.onlyIPv4 ? .ipv4 : .both
        settings.overrideAddress = options.resolveEntries.first { $0.host == parsed.host && $0.port == parsed.port }?.address
        settings.connectTimeout = options.connectTimeout
        settings.deadline = deadline
        settings.device = options.device
        settings.isHead = options.isHead
        settings.failsOnError = options.failsOnError
        var reused: SocketID?
        if let kept = idle {
            if kept.host == parsed.host, kept.port == parsed.port, parsed.scheme == "http",
                system.readiness(kept.socket).isDisjoint(with: [.readHangup, .hangup, .error])
            {
                reused = kept.socket
                verbose("* Found bundle for host\n* Re-using existing connection #\(connections - 1) with host \(parsed.host)\n", system)
            } else {
                system.close(kept.socket)
                verbose("* Closing connection \(connections - 1)\n", system)
            }
            idle = nil
        }
        if reused == nil {
            connections += 1
            newConnections += 1
        }
        if showsMeter, !meterShown {
            meterShown = true
            system.writeError(
                "  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\n                                 Dload  Upload   Total   Spent    Left  Speed\n"
            )
        }
        if showsMeter { system.writeError(CurlMeter.line(received: 0, total: nil, elapsed: .zero, rateKnown: false)) }
        transfer = HTTPTransfer(host: parsed.host, port: parsed.port, request: request, options: settings, reusing: reused)
        return true
    }

    /// The meter is for people, and hidden while the body itself goes to their terminal.
    private var showsMeter: Bool { !options.isSilent && bodyLeavesTerminal }
    private var bodyLeavesTerminal: Bool { options.outputFile(index, url) != nil || outputIsRedirected }
    private var outputIsRedirected = false

    private func report(_ events: [HTTPTransfer.Event], _ system: any SystemCalls) {
        guard options.isVerbose, let transfer, let url else { return }
        for event in events {
            switch event {
            case .resolved: break
            case .trying(let address): system.writeError("*   Trying \(address.address):\(address.port)...\n")
            case .failed(let address, let error): system.writeError("* connect to \(address.address) port \(address.port) failed: \(error)\n")
            case .connected: system.writeError("* Connected to \(url.host) (\(transfer.remoteAddress?.address ?? .any)) port \(url.port) (#\(connections - 1))\n")
            case .requestSent:
                if url.scheme == "https" {
                    system.writeError("* ALPN: offers h2,http/1.1\n* TLSv1.3 (OUT), TLS handshake, Client hello (1):\n")
                } else {
                    let head = text(options.request(url)).split(separator: "\r\n", omittingEmptySubsequences: false).prefix { !$0.isEmpty }
                    for line in head { system.writeError("> \(line)\r\n") }
                    system.writeError("> \r\n")
                }
            case .headReceived:
                for line in HTTPHead.lines(transfer.head[...]) { system.writeError("< \(line)\r\n") }
                system.writeError("< \r\n")
            }
        }
    }

    private func verbose(_ text: String, _ system: any SystemCalls) { if options.isVerbose { system.writeError(text) } }

    private func milliseconds(_ system: any SystemCalls, since start: Instant) -> Int64 { (system.now - start).nanoseconds / 1_000_000 }

    private func end(_ transfer: HTTPTransfer, _ failure: HTTPTransfer.Failure?, _ system: any SystemCalls) {
        var code: Int32 = 0
        var message = ""
        let name = url?.host ?? ""
        let port = url?.port ?? 80
        if let failure {
            (code, message) = explain(failure, name, port, transfer, system)
        } else if options.failsOnError, transfer.status >= 400 {
            (code, message) = (22, "The requested URL returned error: \(transfer.status)")
        }
        if url?.scheme == "https", failure == nil || code == 1 || code == 8 || code == 56 {
            (code, message) = (35, "OpenSSL/3.0.19: error:0A00010B:SSL routines::wrong version number")
        } else if url?.scheme == "https", code == 52 {
            (code, message) = (35, "OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to \(name):\(port) ")
        }
        let isRedirect = code == 0 && options.followsRedirects && [301, 302, 303, 307, 308].contains(transfer.status)
        if options.retries > retriesDone,
            code == 28 || (code == 7 && options.retriesRefused) || (code == 0 || code == 22) && [408, 429, 500, 502, 503, 504].contains(transfer.status)
        {
            let pause = options.retryDelay ?? .seconds(Int64(1) << Int64(min(retriesDone, 9)))
            let left = options.retries - retriesDone
            let what = code == 28 ? "timeout" : code == 7 ? "connection refused" : "HTTP error"
            if !options.isSilent || options.showsErrors {
                system.writeError("Warning: Problem: \(what). Will retry in \(pause.nanoseconds / 1_000_000_000) seconds. \(left) retr\(left == 1 ? "y" : "ies") left.\n")
            }
            retriesDone += 1
            transfer.close(system)
            self.transfer = nil
            sleepUntil = system.now + pause
            deadline = nil
            redirectTarget = nil
            return
        }
        if options.includesHead || options.isHead, url?.scheme == "http" { output += transfer.head }
        let body = transfer.takeBody()
        if !isRedirect, !options.isHead, url?.scheme == "http" { output += body }
        if code == 0, transfer.keepsConnection, let socket = transfer.releaseSocket() {
            idle = (socket, name, port)
            verbose("* Connection #\(connections - 1) to host \(name) left intact\n", system)
        } else {
            if !message.isEmpty { verbose("* \(message)\n", system) }
            verbose("* Closing connection \(connections - 1)\n", system)
            transfer.close(system)
        }
        if isRedirect, let location = transfer.fields["Location"] {
            redirects += 1
            if redirects > options.maximumRedirects {
                complete(code: 47, message: "Maximum (\(options.maximumRedirects)) redirects followed", system)
                return
            }
            redirectTarget = resolved(location)
            verbose("* Issue another request to this URL: '\(redirectTarget!)'\n", system)
            self.transfer = nil
            return
        }
        complete(code: code, message: message, system)
    }

    private func resolved(_ location: String) -> String {
        if location.range(of: "://") != nil { return location }
        guard let url else { return location }
        if location.hasPrefix("//") { return "\(url.scheme):\(location)" }
        if location.hasPrefix("/") { return "\(url.scheme)://\(url.hostField)\(location)" }
        let folder = url.target.prefix { $0 != "?" }.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        return "\(url.scheme)://\(url.hostField)\(folder)/\(location)"
    }

    private func explain(_ failure: HTTPTransfer.Failure, _ name: String, _ port: UInt16, _ transfer: HTTPTransfer, _ system: any SystemCalls) -> (Int32, String) {
        let elapsed = milliseconds(system, since: startedAt)
        switch failure {
        case .resolve: return (6, "Could not resolve host: \(name)")
        case .connect(let error, _):
            if error == .timedOut {
                return (28, "Failed to connect to \(name) port \(port) after \(milliseconds(system, since: transfer.startedAt)) ms: Timeout was reached")
            }
            return (7, "Failed to connect to \(name) port \(port) after \(milliseconds(system, since: transfer.startedAt)) ms: Couldn't connect to server")
        case .connectTimeout: return (28, "Failed to connect to \(name) port \(port) after \(milliseconds(system, since: transfer.startedAt)) ms: Timeout was reached")
        case .timeout(let isConnected):
            if transfer.resolvedAt == nil { return (28, "Resolving timed out after \(elapsed) milliseconds") }
            if !isConnected { return (28, "Connection timed out after \(elapsed) milliseconds") }
            if let total = transfer.contentLength {
                return (28, "Operation timed out after \(elapsed) milliseconds with \(transfer.bodyCount) out of \(total) bytes received")
            }
            return (28, "Operation timed out after \(elapsed) milliseconds with \(transfer.bodyCount) bytes received")
        case .reset(let error): return (56, "Recv failure: \(error)")
        case .send(let error): return (55, "Send failure: \(error)")
        case .emptyReply: return (52, "Empty reply from server")
        case .partial(let missing):
            return missing == 0 ? (18, "transfer closed with outstanding read data remaining") : (18, "transfer closed with \(missing) bytes remaining to read")
        case .malformed: return (1, "Received HTTP/0.9 when not allowed")
        }
    }

    /// Everything after the last byte: output, `-w`, error message; then the next URL.
    private func complete(code: Int32, message: String, _ system: any SystemCalls) {
        var (code, message) = (code, message)
        if code == 0 || !output.isEmpty {
            if let file = options.outputFile(index, url) {
                if file != "/dev/null", !output.isEmpty || code == 0, !system.writeFile(absolutePath(file, system), output, append: false) {
                    system.writeError("Warning: Failed to open the file \(file): No such file or directory\n")
                    (code, message) = (23, "Failure writing output to destination")
                }
            } else if !output.isEmpty {
                system.writeOutput(text(output))
            }
        }
        if showsMeter, let transfer {
            system.writeError(
                CurlMeter.line(
                    received: transfer.bodyCount, total: transfer.contentLength ?? transfer.bodyCount, elapsed: system.now - startedAt, rateKnown: transfer.bodyCount > 0)
                    + "\n")
        }
        if let format = options.writeOut { system.writeOutput(writeOut(format, code, message, system)) }
        if code != 0, !options.isSilent || options.showsErrors { system.writeError("curl: (\(code)) \(message)\n") }
        status = code
        transfer = nil
        redirectTarget = nil
        redirects = 0
        retriesDone = 0
        newConnections = 0
        index += 1
        if code != 0, options.failsEarly { index = urls.count }
    }

    private func writeOut(_ format: String, _ code: Int32, _ message: String, _ system: any SystemCalls) -> String {
        func seconds(_ moment: Instant?) -> String {
            guard let moment else { return "0.000000" }
            return fixedPoint(UInt64(max(0, (moment - startedAt).nanoseconds) / 1000), 6)
        }
        let transfer = transfer
        let elapsed = Double((system.now - startedAt).nanoseconds) / 1e9
        var result = ""
        var rest = Substring(unescaped(format))
        while let c = rest.popFirst() {
            guard c == "%" else {
                result.append(c)
                continue
            }
            if rest.first == "%" {
                rest.removeFirst()
                result.append("%")
                continue
            }
            guard rest.first == "{", let close = rest.firstIndex(of: "}") else {
                result.append("%")
                continue
            }
            let name = rest[rest.index(after: rest.startIndex)..<close]
            rest = rest[rest.index(after: close)...]
            switch name {
            case "http_code", "response_code": result += leftPadded(transfer?.status ?? 0, 3, with: "0")
            case "size_download": result += String(transfer?.bodyCount ?? 0)
            case "size_header": result += String(transfer?.head.count ?? 0)
            case "size_request": result += String(transfer?.requestCount ?? 0)
            case "size_upload": result += String(options.data?.utf8.count ?? 0)
            case "speed_download": result += String(elapsed > 0 ? Int(Double(transfer?.bodyCount ?? 0) / elapsed) : 0)
            case "speed_upload": result += "0"
            case "time_namelookup": result += seconds(transfer?.resolvedAt)
            case "time_connect": result += seconds(transfer?.connectedAt)
            case "time_appconnect", "time_redirect": result += "0.000000"
            case "time_pretransfer": result += seconds(transfer?.connectedAt)
            case "time_starttransfer": result += seconds(transfer?.firstByteAt)
            case "time_total": result += seconds(system.now)
            case "remote_ip": result += transfer?.connectedAt == nil ? "" : transfer?.remoteAddress?.address.description ?? ""
            case "remote_port": result += String(transfer?.connectedAt == nil ? 0 : transfer?.remoteAddress?.port ?? 0)
            case "local_ip": result += transfer?.localAddress?.address.description ?? ""
            case "local_port": result += String(transfer?.localAddress?.port ?? 0)
            case "num_connects": result += String(transfer?.connectedAt == nil ? 0 : newConnections)
            case "num_redirects": result += String(redirects)
            case "url", "url_effective": result += name == "url" ? (index < urls.count ? urls[index] : "") : url?.description ?? ""
            case "scheme": result += (url?.scheme ?? "").uppercased()
            case "method": result += options.method
            case "content_type": result += transfer?.fields["Content-Type"] ?? ""
            case "http_version": result += transfer?.status ?? 0 == 0 ? "0" : "1.1"
            case "redirect_url": result += transfer?.fields["Location"].map(resolved) ?? ""
            case "filename_effective": result += options.outputFile(index, url) ?? ""
            case "exitcode": result += String(code)
            case "errormsg": result += message
            case "urlnum": result += String(index)
            default: break
            }
        }
        return result
    }
}

/// curl's progress meter: one line, rewritten with a carriage return.
enum CurlMeter {
    static func line(received: Int, total: Int?, elapsed: Duration, rateKnown: Bool) -> String {
        let seconds = max(Double(elapsed.nanoseconds) / 1e9, 0.000001)
        let rate = rateKnown ? Int(Double(received) / seconds) : 0
        let percent = total.map { $0 > 0 ? received * 100 / $0 : 0 } ?? 0
        let whole = elapsed.nanoseconds / 1_000_000_000
        let spent =
            rateKnown && whole > 0
            ? "\(leftPadded(Int(whole / 3600), 2)):\(leftPadded(Int(whole / 60 % 60), 2, with: "0")):\(leftPadded(Int(whole % 60), 2, with: "0"))" : "--:--:--"
        return
            "\r\(leftPadded(percent, 3)) \(leftPadded(amount(total ?? 0), 5))  \(leftPadded(percent, 3)) \(leftPadded(amount(received), 5))    0     0 \(leftPadded(amount(rate), 6))      0 \(spent) \(spent) --:--:-- \(leftPadded(amount(rate), 5))"
    }
    /// Five columns: plain up to 99999, then k, M.
    private static func amount(_ bytes: Int) -> String {
        if bytes < 100_000 { return String(bytes) }
        if bytes < 10_000 * 1024 { return "\(bytes / 1024)k" }
        return "\(bytes / 1_048_576).\(bytes % 1_048_576 * 10 / 1_048_576)M"
    }
}
