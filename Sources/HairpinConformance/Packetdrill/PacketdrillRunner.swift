import Foundation
import HairpinEngine
import HairpinTransport

/// Runs packetdrill scripts against the emulated TCP in virtual time. Scripts are read from where they are.
public struct PacketdrillRunner: Sendable {
    public enum Status: String, Sendable {
        case passed
        /// Passed but for the PSH flag of segments: how Linux fills its buffers, not what the protocol says.
        case passedIgnoringPush = "passed-ignoring-psh"
        /// Passed but for times outside the script's tolerance.
        case passedIgnoringTiming = "passed-ignoring-timing"
        case passedIgnoringBoth = "passed-ignoring-psh-and-timing"
        case failed
        /// The script needs something the runner or the stack does not have.
        case unsupported
        /// The script cannot be parsed.
        case unreadable
    }

    public struct Case: Sendable {
        public var id: String
        public var status: Status
        /// Of the script; zero for a pass.
        public var line: Int
        /// Why it did not pass, in one line; empty for a pass.
        public var reason: String
        /// In script notation, where there is a difference.
        public var expected: String?
        public var actual: String?
        /// The worst deviation from a time the script gives, in milliseconds.
        public var worstTiming: Double
    }

    /// Words to replace in every script (`--define NAME=VALUE`).
    public var defines: [String: String] = [:]
    public var seed: UInt64 = 1
    /// Some things are as in the kernels that most public scripts were written on (`ScriptConfiguration.profile`); false for Linux 6.18 throughout.
    public var followsOlderKernels = true
    /// Told of every packet as it goes by, in script notation with its time.
    public var trace: (@Sendable (String) -> Void)?
    public init() {}

    /// The `.pkt` files of a folder and the folders in it, by name; a file is itself.
    public static func scripts(in path: URL) -> [URL] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path.path, isDirectory: &isFolder) else { return [] }
        guard isFolder.boolValue else { return [path] }
        let inside = FileManager.default.enumerator(at: path, includingPropertiesForKeys: nil)
        return (inside?.compactMap { $0 as? URL } ?? []).filter { $0.pathExtension == "pkt" }.sorted { $0.path < $1.path }
    }

    /// Runs the script in `file`; `id` is what the result is called.
    public func run(file: URL, id: String) -> Case {
        guard let data = try? Data(contentsOf: file) else {
            return Case(id: id, status: .unreadable, line: 0, reason: "\(file.path): cannot be read", worstTiming: 0)
        }
        return run(String(decoding: data, as: UTF8.self), file: file.path, id: id)
    }

    public func run(_ text: String, file: String, id: String) -> Case {
        let script: PacketdrillScript
        var words = ScriptSymbols.defines
        words["TFO_COOKIE"] = ScriptConfiguration.fastOpenCookie
        words["TFO_COOKIE_ZERO"] = ScriptConfiguration.zeroKeyFastOpenCookie
        do throws(ScriptError) {
            script = try PacketdrillScript(text, file: file, defines: words.merging(defines) { $1 })
        } catch {
            return Case(id: id, status: .unreadable, line: error.line, reason: error.description, worstTiming: 0)
        }
        var result = Case(id: id, status: .passed, line: 0, reason: "", worstTiming: 0)
        do throws(ScriptStop) {
            let run = try ScriptRun(script, seed: seed, profile: ScriptConfiguration.profile(ofOlderKernel: followsOlderKernels))
            run.trace = trace
            defer { result.worstTiming = Double(run.worstTiming) / 1e6 }
            try run.run()
            switch (run.ignoredPush, run.ignoredTiming) {
            case (false, false): break
            case (true, false): result.status = .passedIgnoringPush
            case (false, true): result.status = .passedIgnoringTiming
            case (true, true): result.status = .passedIgnoringBoth
            }
        } catch {
            switch error {
            case .failed(let line, let what, let expected, let actual):
                (result.status, result.line, result.expected, result.actual) = (.failed, line, expected, actual)
                result.reason = what + (expected.map { ": expected \($0), got \(actual ?? "nothing")" } ?? "")
            case .unsupported(let line, let what): (result.status, result.line, result.reason) = (.unsupported, line, what)
            }
        }
        return result
    }
}
