import ArgumentParser
import Logging

/// Diagnostics through swift-log, to standard error. Warnings always; `-v` adds what the cluster does, `-vv` every decision of the runner.
struct VerbosityOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Say what happens; twice for more.")
    var verbose: Int

    func logger() -> Logger {
        var logger = Logger(label: "hairpin", factory: { _ in TalkLogHandler() })
        logger.logLevel = verbose >= 2 ? .debug : verbose == 1 ? .info : .warning
        return logger
    }
}

/// `hairpin: warning: text`, without times: wall time means nothing here, and virtual time is in the text where it matters.
private struct TalkLogHandler: LogHandler {
    var logLevel = Logger.Level.warning
    var metadata: Logger.Metadata = [:]
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }
    func log(event: LogEvent) {
        Talk.error(event.level <= .info ? "\(event.message)" : "\(event.level): \(event.message)")
    }
}
