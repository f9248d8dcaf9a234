/// The word of `known` that a person most likely meant by `word`; nil when none is near.
///
/// Near means equal but for letter case, or at most two edits (one for words of up to four letters) in the Damerau-Levenshtein distance.
public func nearestWord(to word: String, among known: [String]) -> String? {
    let lower = word.lowercased()
    if let same = known.first(where: { $0.lowercased() == lower }) { return same }
    let limit = word.count <= 4 ? 1 : 2
    guard word.count <= 64 else { return nil }
    var best: (word: String, distance: Int)?
    for candidate in known where abs(candidate.count - word.count) <= limit {
        let distance = editDistance(Array(lower), Array(candidate.lowercased()))
        if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
    }
    return best?.word
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
    var beforePrevious = [Int]()
    var previous = Array(0...b.count)
    for i in 0..<a.count {
        var row = [i + 1]
        for j in 0..<b.count {
            var cost = min(previous[j] + (a[i] == b[j] ? 0 : 1), previous[j + 1] + 1, row[j] + 1)
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforePrevious[j - 1] + 1) }
            row.append(cost)
        }
        beforePrevious = previous
        previous = row
    }
    return previous[b.count]
}
