import HairpinCluster

/// Why something could not be done, in one message for people, and the kind that decides the exit status.
public struct Failure: Error, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// The command itself was wrong.
        case usage
        /// A manifest, scenario or filter is wrong.
        case input
        /// A file or an object that does not exist.
        case notFound
        /// A fault of the program, such as books that do not balance.
        case internalFault
        /// Something could not be written.
        case output
        case interrupted
    }
    public var kind: Kind
    public var message: String
    /// What the person may have meant, as a sentence.
    public var hint: String?
    public init(_ kind: Kind, _ message: String, hint: String? = nil) { (self.kind, self.message, self.hint) = (kind, message, hint) }
    public init(_ error: InputError) { self.init(error.kind == .unreadable ? .notFound : .input, error.description) }
    /// On one line.
    public var description: String { hint.map { "\(message). \($0)" } ?? message }
}
