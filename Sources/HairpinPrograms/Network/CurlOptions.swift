import HairpinEngine
import HairpinWire

/// The command line of curl.
struct CurlOptions {
    var urls: [String] = []
    var isSilent = false, showsErrors = false, failsOnError = false, failsEarly = false, isHead = false, includesHead = false, isVerbose = false
    var followsRedirects = false, onlyIPv4 = false, showsVersion = false, namesByRemote = false, retriesRefused = false
    var outputs: [String] = []
    var writeOut: String?
    var maximumTime: Duration?, connectTimeout: Duration?, retryDelay: Duration?
    var range: String?, agent = "curl/7.88.1", explicitMethod: String?, data: String?, referer: String?, user: String?
    var headers: [String] = []
    var retries = 0, maximumRedirects = 50
    var device: String?
    var resolveEntries: [(host: String, port: UInt16, address: IPv4Address)] = []
    var usesHTTP10 = false

    private static let valued: [Character: String] = [
        "o": "output", "w": "write-out", "m": "max-time", "r": "range", "H": "header", "A": "user-agent", "X": "request", "d": "data", "e": "referer", "u": "user",
        "b": "cookie", "c": "cookie-jar", "F": "form", "T": "upload-file", "x": "proxy", "K": "config", "y": "speed-time", "Y": "speed-limit", "E": "cert",
    ]
    private static let flags: [Character: String] = [
        "s": "silent", "S": "show-error", "f": "fail", "O": "remote-name", "I": "head", "i": "include", "v": "verbose", "L": "location", "k": "insecure", "4": "ipv4",
        "V": "version", "g": "globoff", "N": "no-buffer", "G": "get", "0": "http1.0", "q": "disable", "#": "progress-bar", "6": "ipv6", "j": "junk-session-cookies",
    ]
    private static let valuedLong: Set<String> = [
        "output", "write-out", "max-time", "connect-timeout", "range", "header", "user-agent", "request", "data", "data-raw", "data-binary", "data-ascii",
        "data-urlencode",
        "referer", "user", "cookie", "retry", "retry-delay", "retry-max-time", "resolve", "max-redirs", "interface", "url", "json", "local-port", "keepalive-time",
        "proxy",
        "cacert", "cert", "key", "noproxy", "speed-time", "speed-limit", "limit-rate", "max-filesize", "cookie-jar", "form", "upload-file", "config", "stderr",
    ]
    private static let flagsLong: Set<String> = [
        "silent", "show-error", "fail", "fail-early", "fail-with-body", "remote-name", "head", "include", "verbose", "location", "insecure", "ipv4", "ipv6", "version",
        "globoff",
        "no-buffer", "get", "http1.0", "http1.1", "http2", "disable", "progress-bar", "no-progress-meter", "retry-connrefused", "retry-all-errors", "compressed",
        "no-keepalive",
        "tcp-nodelay", "path-as-is", "create-dirs", "junk-session-cookies", "parallel", "raw", "post301", "post302",
    ]

    /// The text for standard error if the command line is wrong.
    mutating func parse(_ arguments: [String]) -> String? {
        let hint = "curl: try 'curl --help' or 'curl --manual' for more information\n"
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if word == "--" {
                urls += rest
                break
            }
            if word.hasPrefix("--") {
                var name = String(word.dropFirst(2))
                if name == "no-silent" { continue }
                if CurlOptions.flagsLong.contains(name) {
                    set(flag: name)
                } else if CurlOptions.valuedLong.contains(name) {
                    guard let value = rest.popFirst() else { return "curl: option \(word): requires parameter\n" + hint }
                    if let bad = set(name, value, word) { return bad + hint }
                } else {
                    name = word
                    return "curl: option \(name): is unknown\n" + hint
                }
            } else if word.hasPrefix("-"), word != "-" {
                var letters = word.dropFirst()
                while let letter = letters.popFirst() {
                    if let name = CurlOptions.flags[letter] {
                        set(flag: name)
                    } else if let name = CurlOptions.valued[letter] {
                        let attached = String(letters)
                        letters = ""
                        guard let value = attached.isEmpty ? rest.popFirst() : attached else { return "curl: option -\(letter): requires parameter\n" + hint }
                        if let bad = set(name, value, "-\(letter)") { return bad + hint }
                    } else {
                        return "curl: option \(word): is unknown\n" + hint
                    }
                }
            } else {
                urls.append(word)
            }
        }
        return nil
    }

    private mutating func set(flag name: String) {
        switch name {
        case "silent": isSilent = true
        case "show-error": showsErrors = true
        case "no-progress-meter": (isSilent, showsErrors) = (true, true)
        case "fail", "fail-with-body": failsOnError = name == "fail"
        case "fail-early": failsEarly = true
        case "remote-name": namesByRemote = true
        case "head": isHead = true
        case "include": includesHead = true
        case "verbose": isVerbose = true
        case "location": followsRedirects = true
        case "ipv4": onlyIPv4 = true
        case "version": showsVersion = true
        case "retry-connrefused", "retry-all-errors": retriesRefused = true
        case "http1.0": usesHTTP10 = true
        case "get": explicitMethod = explicitMethod ?? "GET"
        default: break
        }
    }

    private mutating func set(_ name: String, _ value: String, _ word: String) -> String? {
        func number() -> String { "curl: option \(word): expected a proper numerical parameter\n" }
        switch name {
        case "output": outputs.append(value)
        case "write-out": writeOut = value
        case "max-time", "connect-timeout", "retry-delay":
            guard let duration = parseDuration(value), value.last?.isNumber == true else { return number() }
            let limit = duration.isZero ? nil : duration
            if name == "max-time" { maximumTime = limit } else if name == "connect-timeout" { connectTimeout = limit } else { retryDelay = limit }
        case "retry", "max-redirs":
            guard let count = Int(value) else { return number() }
            if name == "retry" { retries = count } else { maximumRedirects = count < 0 ? Int.max : count }
        case "range": range = value
        case "header": headers.append(value)
        case "user-agent": agent = value
        case "request": explicitMethod = value
        case "data", "data-raw", "data-binary", "data-ascii", "data-urlencode", "json":
            data = data.map { $0 + (name == "json" ? "" : "&") + value } ?? value
            if name == "json" { headers += ["Content-Type: application/json", "Accept: application/json"] }
        case "referer": referer = value
        case "user": user = value
        case "cookie": headers.append("Cookie: \(value)")
        case "interface": device = value
        case "url": urls.append(value)
        case "resolve":
            let parts = value.split(separator: ":")
            guard parts.count == 3, let port = UInt16(parts[1]), let address = IPv4Address(parts[2]) else {
                return "curl: (49) Couldn't parse CURLOPT_RESOLVE entry '\(value)'\n"
            }
            resolveEntries.append((String(parts[0]), port, address))
        default: break
        }
        return nil
    }

    var method: String { explicitMethod ?? (isHead ? "HEAD" : data != nil ? "POST" : "GET") }

    /// Nil for standard output.
    func outputFile(_ index: Int, _ url: WebURL?) -> String? {
        if index < outputs.count { return outputs[index] == "-" ? nil : outputs[index] }
        guard namesByRemote, let url else { return nil }
        return url.target.prefix { $0 != "?" }.split(separator: "/").last.map(String.init) ?? "curl_response"
    }

    /// The request as 7.88.1 writes it, field by field.
    func request(_ url: WebURL) -> [UInt8] {
        func custom(_ name: String) -> Bool {
            headers.contains { $0.lowercased().hasPrefix(name.lowercased() + ":") || $0.lowercased().hasPrefix(name.lowercased() + ";") }
        }
        var lines = ["\(method) \(url.target) HTTP/\(usesHTTP10 ? "1.0" : "1.1")"]
        if !custom("Host") { lines.append("Host: \(url.hostField)") }
        if let credentials = user ?? url.credentials { lines.append("Authorization: Basic \(Base64.encoded(Array(credentials.utf8)))") }
        if let range { lines.append("Range: bytes=\(range)") }
        if !custom("User-Agent"), !agent.isEmpty { lines.append("User-Agent: \(agent)") }
        if !custom("Accept") { lines.append("Accept: */*") }
        if let referer { lines.append("Referer: \(referer)") }
        for header in headers {
            let parts = header.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            // "Name:" removes a field, "Name;" sends it empty.
            if parts.count == 2, !trimmed(parts[1]).isEmpty { lines.append(header) } else if header.hasSuffix(";") { lines.append(header.dropLast() + ":") }
        }
        if let data {
            if !custom("Content-Length") { lines.append("Content-Length: \(data.utf8.count)") }
            if !custom("Content-Type") { lines.append("Content-Type: application/x-www-form-urlencoded") }
        }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + Array((data ?? "").utf8)
    }

    /// `{a,b}` and `[1-5]` in a URL.
    static func globbed(_ url: String) -> [String] {
        if let open = url.firstIndex(of: "["), let close = url[open...].firstIndex(of: "]") {
            let bounds = url[url.index(after: open)..<close].split(separator: "-")
            if bounds.count == 2, let first = Int(bounds[0]), let last = Int(bounds[1]), first <= last, last - first < 10_000 {
                let width = bounds[0].hasPrefix("0") ? bounds[0].count : 0
                return (first...last).flatMap { globbed(url[..<open] + leftPadded($0, width, with: "0") + url[url.index(after: close)...]) }
            }
        }
        if let open = url.firstIndex(of: "{"), let close = url[open...].firstIndex(of: "}") {
            let before = String(url[..<open])
            let after = String(url[url.index(after: close)...])
            return url[url.index(after: open)..<close].split(separator: ",", omittingEmptySubsequences: false).flatMap { globbed(before + $0 + after) }
        }
        return [url]
    }
}

enum Base64 {
    static func encoded(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var result = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let value = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << (8 * UInt32(3 - group.count))
            for position in 0..<4 {
                let index = Int(value >> (18 - 6 * UInt32(position)) & 63)
                result.append(position <= group.count ? alphabet[index] : "=")
            }
        }
        return result
    }
}

/// The first message of a TLS 1.3 handshake (RFC 8446 §4.1.2), 517 bytes like OpenSSL's: enough for a server without TLS to refuse.
enum TLSClientHello {
    static func bytes(host: String, random: () -> UInt32) -> [UInt8] {
        func two(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }
        func noise(_ count: Int) -> [UInt8] {
            (0..<(count / 4)).flatMap { _ in
                let word = random()
                return two(Int(word >> 16)) + two(Int(word & 0xffff))
            }
        }
        func item(_ type: Int, _ data: [UInt8]) -> [UInt8] { two(type) + two(data.count) + data }
        var extensions = item(0x0b, [3, 0, 1, 2]) + item(0x0a, [0, 8, 0, 0x1d, 0, 0x17, 0, 0x1e, 0, 0x19]) + item(0x23, [])
        let name = Array(host.utf8)
        if IPv4Address(host) == nil, name.count < 200 { extensions = item(0, two(name.count + 3) + [0] + two(name.count) + name) + extensions }
        extensions += item(0x10, [0, 0x0c, 2] + Array("h2".utf8) + [8] + Array("http/1.1".utf8))
        extensions += item(0x16, []) + item(0x17, []) + item(0x0d, [0, 8, 4, 3, 8, 4, 4, 1, 2, 1]) + item(0x2b, [4, 3, 4, 3, 3]) + item(0x2d, [1, 1])
        extensions += item(0x33, [0, 0x24, 0, 0x1d, 0, 0x20] + noise(32))
        let suites: [UInt8] = [0x13, 0x02, 0x13, 0x03, 0x13, 0x01, 0xc0, 0x2c, 0xc0, 0x30, 0xc0, 0x2b, 0xc0, 0x2f, 0x00, 0xff]
        var hello: [UInt8] = [3, 3] + noise(32) + [32] + noise(32) + two(suites.count) + suites + [1, 0]
        let padding = 508 - hello.count - 2 - extensions.count - 4
        if padding > 0 { extensions += item(0x15, [UInt8](repeating: 0, count: padding)) }
        hello += two(extensions.count) + extensions
        return [0x16, 3, 1] + two(hello.count + 4) + [1, 0] + two(hello.count) + hello
    }
}
