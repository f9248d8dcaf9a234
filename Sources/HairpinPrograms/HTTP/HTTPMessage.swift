/// Field lines of a message head, in order; names compare without case (RFC 9110 §5).
struct HTTPFields: Sendable {
    var list: [(name: String, value: String)] = []
    subscript(_ name: String) -> String? {
        let wanted = name.lowercased()
        return list.first { $0.name.lowercased() == wanted }?.value
    }

    /// Lines behind the start line; nil if one is not a field.
    init?(_ lines: some Sequence<Substring>) {
        for line in lines {
            guard let colon = line.firstIndex(of: ":"), colon > line.startIndex else { return nil }
            list.append((String(line[..<colon]), trimmed(line[line.index(after: colon)...])))
        }
    }
    init(_ list: [(name: String, value: String)] = []) { self.list = list }
}

/// A head found at the start of a byte stream.
enum HTTPHead {
    static let limit = 32 * 1024

    /// The length of the head with its empty line; nil while it is incomplete. Bare newlines are accepted (RFC 9112 §2.2).
    static func end(in bytes: ArraySlice<UInt8>) -> Int? {
        var i = bytes.startIndex
        while let newline = bytes[i...].firstIndex(of: 10) {
            let next = newline + 1
            if next < bytes.endIndex, bytes[next] == 10 { return next + 1 - bytes.startIndex }
            if next + 1 < bytes.endIndex, bytes[next] == 13, bytes[next + 1] == 10 { return next + 2 - bytes.startIndex }
            i = next
        }
        return nil
    }

    static func lines(_ head: ArraySlice<UInt8>) -> [Substring] {
        var result = text(head.filter { $0 != 13 }).split(separator: "\n", omittingEmptySubsequences: false)
        while result.last?.isEmpty == true { result.removeLast() }
        return result
    }
}

struct HTTPRequest: Sendable {
    var method: String
    var target: String
    var version: String
    var fields: HTTPFields
    var body: [UInt8] = []

    /// Path without the query, percent-decoding left alone.
    var path: String { String(target.prefix { $0 != "?" }) }
    func query(_ name: String) -> String? {
        guard let mark = target.firstIndex(of: "?") else { return nil }
        for pair in target[target.index(after: mark)...].split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts[0] == name { return HTTPRequest.percentDecoded(parts.count == 2 ? String(parts[1]) : "") }
        }
        return nil
    }

    static func percentDecoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        let source = Array(text.utf8)
        var i = 0
        while i < source.count {
            if source[i] == UInt8(ascii: "%"), i + 2 < source.count, let value = UInt8(HairpinPrograms.text(source[(i + 1)...(i + 2)]), radix: 16) {
                bytes.append(value)
                i += 3
            } else {
                bytes.append(source[i] == UInt8(ascii: "+") ? 32 : source[i])
                i += 1
            }
        }
        return HairpinPrograms.text(bytes)
    }

    /// Nil if the start line or a field is malformed.
    init?(head: ArraySlice<UInt8>) {
        let all = HTTPHead.lines(head).drop { $0.isEmpty }
        guard let start = all.first else { return nil }
        let parts = start.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, parts[0].allSatisfy({ $0.isASCII && ($0.isLetter || $0 == "-" || $0 == "_") }),
            parts[1].first == "/" || parts[1] == "*" || parts[1].hasPrefix("http"),
            parts[2] == "HTTP/1.1" || parts[2] == "HTTP/1.0", let fields = HTTPFields(all.dropFirst())
        else { return nil }
        (method, target, version, self.fields) = (String(parts[0]), String(parts[1]), String(parts[2]), fields)
    }

    var keepsAlive: Bool {
        let connection = fields["Connection"]?.lowercased() ?? ""
        return version == "HTTP/1.1" ? !connection.contains("close") : connection.contains("keep-alive")
    }
}

/// Undoes the chunked transfer coding (RFC 9112 §7.1) as bytes arrive.
struct ChunkedDecoder {
    private enum State {
        case size
        case data(Int)
        case dataEnd, trailer, done
    }
    private var state = State.size
    private var line: [UInt8] = []
    private(set) var isDone = false
    private(set) var isMalformed = false

    /// Decoded bytes; those behind the last chunk are left in `input`.
    mutating func decode(_ input: inout ArraySlice<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        while !input.isEmpty, !isDone, !isMalformed {
            switch state {
            case .data(let remaining):
                let count = min(remaining, input.count)
                output += input.prefix(count)
                input = input.dropFirst(count)
                state = count == remaining ? .dataEnd : .data(remaining - count)
            case .size, .dataEnd, .trailer:
                let byte = input.removeFirst()
                if byte == 13 { continue }
                if byte != 10 {
                    line.append(byte)
                    if line.count > 4096 { isMalformed = true }
                    continue
                }
                let content = line
                line = []
                switch state {
                case .size:
                    guard let size = Int(trimmed(text(content.prefix { $0 != UInt8(ascii: ";") })), radix: 16), size >= 0 else {
                        isMalformed = true
                        break
                    }
                    state = size == 0 ? .trailer : .data(size)
                case .dataEnd:
                    if !content.isEmpty { isMalformed = true }
                    state = .size
                default:
                    if content.isEmpty {
                        isDone = true
                        state = .done
                    }
                }
            case .done: return output
            }
        }
        return output
    }
}
