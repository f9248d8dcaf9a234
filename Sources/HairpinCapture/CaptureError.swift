/// What can go wrong with a capture, in words that name the file, the value and what to do.
public enum CaptureError: Error, Equatable, Sendable, CustomStringConvertible {
    case cannotOpen(file: String, reason: String)
    /// A write failed after `packets` whole packets. `isReadable` tells whether the file was cut back to the end of the last of them.
    case writeFailed(file: String, reason: String, packets: UInt64, isReadable: Bool)
    case cannotRead(file: String, reason: String)
    /// Bytes that are no capture, at `offset` of the file.
    case malformed(file: String, offset: Int, reason: String)
    /// `column` counts characters from one; zero if the error has no place.
    case filter(text: String, column: Int, reason: String)
    case noInterface(pattern: String, known: [String])

    public var description: String {
        switch self {
        case .cannotOpen(let file, let reason): return "\(file): \(reason)"
        case .writeFailed(let file, let reason, let packets, let isReadable):
            let count = packets == 1 ? "1 packet" : "\(grouped(packets)) packets"
            return "\(file): \(reason) after \(count)" + (isReadable ? "; the file is readable up to there" : "")
        case .cannotRead(let file, let reason): return "\(file): \(reason)"
        case .malformed(let file, let offset, let reason): return "\(file): byte \(offset): \(reason)"
        case .filter(let text, let column, let reason):
            return "capture filter `\(text)`" + (column > 0 ? ", column \(column)" : "") + ": \(reason)"
        case .noInterface(let pattern, let known):
            let shown = known.prefix(8).joined(separator: ", ")
            let choices = known.isEmpty ? "there are no interfaces" : "there are \(shown)" + (known.count > 8 ? " and \(known.count - 8) more" : "")
            return "capture interface `\(pattern)` matches nothing; \(choices)"
        }
    }
}

/// 12345 as "12 345", the way numbers of packets are written for people.
func grouped(_ number: UInt64) -> String {
    var text = ""
    for (position, digit) in String(number).reversed().enumerated() {
        if position > 0, position % 3 == 0 { text.append(" ") }
        text.append(digit)
    }
    return String(text.reversed())
}
