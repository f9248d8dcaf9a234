import Foundation

/// Where a figure was taken, for whoever compares it.
public struct Machine: Codable, Sendable, Equatable {
    public var processor: String
    public var cores: Int
    public var system: String
    public var compiler: String
    /// "release" or "debug"; a debug build's figures mean nothing.
    public var build: String

    public static let current = Machine(
        processor: model, cores: ProcessInfo.processInfo.processorCount, system: ProcessInfo.processInfo.operatingSystemVersionString, compiler: swift, build: build)

    private static var model: String {
        let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
        return line?.split(separator: ":", maxSplits: 1).last.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown"
    }

    private static var swift: String {
        #if swift(>=6.3)
            "Swift 6.3 or newer"
        #elseif swift(>=6.2)
            "Swift 6.2"
        #else
            "Swift 6.1"
        #endif
    }

    private static var build: String {
        #if DEBUG
            "debug"
        #else
            "release"
        #endif
    }
}
