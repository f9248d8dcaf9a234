/// The syntax tree of the shell language (POSIX.1 XCU §2), as far as people type it at containers.

/// A piece of a word before expansion.
indirect enum WordPart {
    case literal(String, quoted: Bool)
    /// `$x`, `${x}`, `${x:-word}`, `${#x}`.
    case variable(name: String, operation: ParameterOperation?, quoted: Bool)
    /// `$(…)` or backquotes; `slot` numbers the substitutions of one command.
    case command(ShellNode, quoted: Bool)
    /// `$((…))`.
    case arithmetic([WordPart], quoted: Bool)
}

struct ParameterOperation {
    enum Kind { case useDefault, assignDefault, alternative, errorIfUnset, length, removeSmallestSuffix, removeLargestSuffix, removeSmallestPrefix, removeLargestPrefix }
    var kind: Kind
    /// With a colon an empty value counts as unset.
    var treatsEmptyAsUnset: Bool
    var word: [WordPart]
}

struct Word {
    var parts: [WordPart]
}

struct Redirection {
    enum Kind { case read, write, append, duplicate, both, appendBoth }
    var descriptor: Int
    var kind: Kind
    var target: Word
}

struct SimpleCommand {
    var assignments: [(name: String, value: Word)] = []
    var words: [Word] = []
    var redirections: [Redirection] = []
    var line = 1
}

indirect enum ShellNode {
    case simple(SimpleCommand)
    case pipeline([ShellNode], negated: Bool)
    /// `a && b || c`: each with the operator before it.
    case andOr(first: ShellNode, rest: [(isAnd: Bool, node: ShellNode)])
    case sequence([ShellNode])
    case background(ShellNode)
    case subshell(ShellNode)
    case group(ShellNode)
    case conditional(branches: [(condition: ShellNode, body: ShellNode)], otherwise: ShellNode?)
    case loop(condition: ShellNode, body: ShellNode, isUntil: Bool)
    case forEach(variable: String, words: [Word]?, body: ShellNode)
    case choice(Word, [(patterns: [Word], body: ShellNode)])
    case function(name: String, body: ShellNode)
    case redirected(ShellNode, [Redirection])
    /// bash's `time` before a pipeline.
    case timed(ShellNode)
}

struct ShellSyntaxError: Error {
    var line: Int
    var message: String
}
