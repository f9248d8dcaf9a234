import Foundation
import HairpinScenario

/// Standard output, with its errors kept: a full disk behind a redirection must not look like success.
enum Output {
    static func write(_ text: String) throws(Failure) { try write(Array(text.utf8)) }

    static func write(_ bytes: [UInt8]) throws(Failure) {
        if let code = writeAll(bytes, to: STDOUT_FILENO) {
            throw Failure(.output, "standard output: \(String(cString: strerror(code)))")
        }
    }

    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Writes a file whole; the message names it.
    static func write(_ text: String, toFile path: String) throws(Failure) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Failure(.output, "\(path): \(String(cString: strerror(errno)))") }
        let failed = writeAll(Array(text.utf8), to: descriptor)
        let closed = close(descriptor)
        if let code = failed ?? (closed == 0 ? nil : errno) { throw Failure(.output, "\(path): \(String(cString: strerror(code)))") }
    }
}

/// Standard error: talk for people. Its failures have nobody to be told to.
enum Talk {
    static func line(_ text: String) { _ = writeAll(Array((text + "\n").utf8), to: STDERR_FILENO) }
    static func error(_ text: String) { line("hairpin: \(text)") }
    /// kubectl's errors keep kubectl's words, alone on their line; ours begin with the program's name.
    static func failure(_ failure: Failure) {
        let isKubectl = failure.message.hasPrefix("Error from server") || failure.message.hasPrefix("error: ")
        if isKubectl {
            line(failure.message)
            if let hint = failure.hint { line(hint) }
        } else {
            error(failure.description)
        }
    }
    static func write(_ bytes: [UInt8]) { _ = writeAll(bytes, to: STDERR_FILENO) }
    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }
}

/// The errno of a failed write(2), or nil when all is written.
private func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Int32? {
    var offset = 0
    while offset < bytes.count {
        let written = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress! + offset, $0.count - offset) }
        if written > 0 {
            offset += written
        } else if written < 0, errno != EINTR {
            return errno
        }
    }
    return nil
}

/// Whether colours are wanted: https://no-color.org, and never into a file or pipe.
enum Colour {
    static var isWanted: Bool {
        let environment = ProcessInfo.processInfo.environment
        return (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb" && Output.isTerminal
    }
}
