import HairpinEngine

/// One entry of `spec.expect`: something that can turn out false.
public struct Expectation: Sendable {
    public enum Subject: Sendable {
        case step(String, [StepCondition])
        /// Frames dropped, of one reason or of any.
        case drops(reason: String?, Bounds)
        /// Frames refused by a NetworkPolicy, "namespace/name", alone or with others.
        case policyDrops(policy: String, Bounds)
        /// Frames seen at the interfaces that match a pattern `HOST:INTERFACE`, and a filter.
        case frames(on: String, filter: String, Bounds)
        case captures([CaptureCondition])
    }
    public var subject: Subject
    public var position: Position
}

public enum StepCondition: Sendable {
    case exit(Int32)
    case output(StreamName, TextCondition)
    case duration(minimum: Duration?, maximum: Duration?)
    /// Of clients that send requests: how many were "sent", "answered", "lost", or lost by one cause ("refused").
    case requests(String, Bounds)
}

public enum StreamName: String, Sendable { case stdout, stderr }

/// What may be said about a command's output. Lines are those of the output without its last newline.
public enum TextCondition: Sendable {
    case contains(String)
    case excludes(String)
    /// The whole text; a final newline on either side does not matter.
    case equals(String)
    /// A regular expression found somewhere (`^` and `$` match at line ends).
    case matches(String)
    case lines(Bounds)
    /// How many different lines there are.
    case distinctLines(Int)
    /// Every different line occurs so often.
    case eachLine(Bounds)
    /// How often `text` occurs.
    case counts(text: String, Bounds)
    case empty
}

public enum CaptureCondition: Sendable {
    /// At least one frame was recorded at an interface matching each pattern.
    case interface(String)
    case frames(Bounds)
    /// Of the combined pcapng file, in hexadecimal.
    case sha256(String)
}

/// `{minimum: 1, maximum: 3}`, `{exactly: 2}` or just `2`.
public struct Bounds: Sendable, Equatable {
    public var minimum: Int?
    public var maximum: Int?
    public init(minimum: Int? = nil, maximum: Int? = nil) { (self.minimum, self.maximum) = (minimum, maximum) }
    public static func exactly(_ n: Int) -> Bounds { Bounds(minimum: n, maximum: n) }

    public func admits(_ value: Int) -> Bool { (minimum.map { value >= $0 } ?? true) && (maximum.map { value <= $0 } ?? true) }

    /// "exactly 2", "at least 1", "1 to 3".
    public var words: String {
        switch (minimum, maximum) {
        case (let low?, let high?): low == high ? "exactly \(low)" : "\(low) to \(high)"
        case (let low?, nil): "at least \(low)"
        case (nil, let high?): "at most \(high)"
        case (nil, nil): "any number of"
        }
    }

    /// `noun`, with an s unless the limit that is named last is one.
    func plural(_ noun: String) -> String { maximum ?? minimum == 1 ? noun : noun + "s" }
}
