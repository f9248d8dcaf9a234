/// Refuses, before the parser sees them, the few texts that would make it work for ever.
///
/// Following aliases is bounded where the tree is built. But the parser hashes the keys of every mapping to find duplicates, and a key that is an
/// alias of aliases takes exponential time to hash. Kubernetes has words as keys, so such a key together with many aliases is refused. And it takes
/// microseconds for every key, so what looks like entries is counted first; in a block of text too, where it takes a very long one to matter.
enum AliasGuard {
    static func check(_ bytes: [UInt8], file: String) throws(InputError) {
        var anchors = 0
        var aliases = 0
        var entries = 0
        var line = 1
        var complexKeyLine: Int?
        var previous: UInt8 = 10
        /// Whether an alias or the end of a flow collection was the last token: a colon after it makes that a key.
        var collectionJustEnded = false
        for (index, byte) in bytes.enumerated() {
            let next = index + 1 < bytes.count ? bytes[index + 1] : 10
            let startsToken = isSeparator(previous)
            if byte == UInt8(ascii: ",") || byte == UInt8(ascii: ":") && isSeparator(next) || byte == UInt8(ascii: "-") && startsToken && isSeparator(next) {
                entries += 1
                if entries > YAMLReader.maximumValueCount {
                    throw InputError(
                        file: file, line: line, problem: "has more than \(YAMLReader.maximumValueCount) entries",
                        fix: "Split it into several files, and leave out what the network does not need.")
                }
            }
            switch byte {
            case 10:
                line += 1
                collectionJustEnded = false
            case UInt8(ascii: "&") where startsToken && isName(next): anchors += 1
            case UInt8(ascii: "*") where startsToken && isName(next):
                aliases += 1
                collectionJustEnded = true
            case UInt8(ascii: "?") where startsToken && isSeparator(next): complexKeyLine = complexKeyLine ?? line
            case UInt8(ascii: "]"), UInt8(ascii: "}"): collectionJustEnded = true
            case UInt8(ascii: ":") where collectionJustEnded: complexKeyLine = complexKeyLine ?? line
            case UInt8(ascii: ","), UInt8(ascii: "["), UInt8(ascii: "{"): collectionJustEnded = false
            default: break
            }
            previous = byte
        }
        guard let complexKeyLine, anchors > 0, aliases > 0 else { return }
        // Worst case: every anchor holds an equal share of the aliases, each of the one before.
        var expansion = 1.0
        for _ in 0..<min(anchors, 64) { expansion *= Double(aliases) / Double(anchors) + 1 }
        guard expansion > 100_000 else { return }
        throw InputError(
            file: file, line: complexKeyLine, problem: "has a collection as a key, in a file whose aliases may expand to more than 100000 values",
            fix: "Use words as keys, and fewer aliases.")
    }

    private static func isSeparator(_ byte: UInt8) -> Bool {
        switch byte {
        case 9, 10, 13, 32, UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: ","), UInt8(ascii: ":"): true
        default: false
        }
    }
    private static func isName(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122, UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: byte >= 128
        }
    }
}
