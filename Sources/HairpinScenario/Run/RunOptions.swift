import HairpinEngine
import Logging

/// What the command line decides about a run.
public struct RunOptions: Sendable {
    /// In place of the scenario's own.
    public var seed: UInt64?
    /// Virtual time at which the run ends at the latest.
    public var until: Instant?
    /// Threads that run nodes at once; no more are used than there are logical processes. Results do not depend on it.
    public var threads = 1
    public static let threadRange = 1...256
    /// Whether each thread runs its share of every window, also where it does not pay: for tests.
    public var sharesEveryWindow = false
    /// Folder for `NAME.pcapng`; it is made when it does not exist. Nil writes no captures.
    public var captures: String?
    /// Folder for one `HOST-IFACE.pcap` each; nil writes none.
    public var interfaceCaptures: String?
    /// The file the trace of TCP connections goes to; nil writes none but the one the scenario asks for beside its capture.
    public var tcpProbe: String?
    /// Whether the result names the captures' SHA-256; for large ones that takes a while.
    public var digests = true
    public var style = TextStyle()
    public init() {}
}

/// How a run talks to whoever started it.
public struct RunHooks {
    /// Takes pieces of the transcript, as they come to be.
    public var print: (String) throws(Failure) -> Void = { _ throws(Failure) in }
    /// Called now and then, at most every few milliseconds of work.
    public var progress: (RunProgress) -> Void = { _ in }
    /// Looked at between events; true ends the run early, with its captures closed.
    public var isInterrupted: () -> Bool = { false }
    public var log: Logger
    public init(log: Logger) { self.log = log }
}

public struct RunProgress: Sendable {
    public var scenario: String
    public var now: Instant
    /// The step that runs, if one does.
    public var activity: String?
    public init(scenario: String, now: Instant, activity: String?) {
        self.scenario = scenario
        self.now = now
        self.activity = activity
    }
}
