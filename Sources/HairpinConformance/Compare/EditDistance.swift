/// Levenshtein distance of two lists of lines.
///
/// - Complexity: O(n × m) after what is common at both ends.
func editDistance(_ a: [String], _ b: [String]) -> Int {
    var numbers: [String: Int] = [:]
    func number(_ lines: [String]) -> [Int] {
        lines.map { line in
            let number = numbers[line] ?? numbers.count
            numbers[line] = number
            return number
        }
    }
    var a = number(a)[...]
    var b = number(b)[...]
    while let first = a.first, first == b.first { (a, b) = (a.dropFirst(), b.dropFirst()) }
    while let last = a.last, last == b.last { (a, b) = (a.dropLast(), b.dropLast()) }
    let left = Array(a)
    let right = Array(b)
    var row = Array(0...right.count)
    row.withUnsafeMutableBufferPointer { row in
        right.withUnsafeBufferPointer { right in
            for (i, line) in left.enumerated() {
                var diagonal = row[0]
                row[0] = i + 1
                for j in 0..<right.count {
                    let above = row[j + 1]
                    row[j + 1] = line == right[j] ? diagonal : 1 + min(diagonal, row[j], above)
                    diagonal = above
                }
            }
        }
    }
    return row[right.count]
}

/// 1 - edit distance / longer length.
func similarity(_ a: [String], _ b: [String]) -> Double {
    let longest = max(a.count, b.count)
    return longest == 0 ? 1 : 1 - Double(editDistance(a, b)) / Double(longest)
}

/// Pairs of equal lines in order: the longest run they share, then the same left and right of it (Ratcliff and Obershelp).
func matchingPairs(_ a: [String], _ b: [String]) -> [(Int, Int)] {
    var places: [String: [Int]] = [:]
    for (position, line) in b.enumerated() { places[line, default: []].append(position) }

    /// The longest common run in the given parts, the earliest of several.
    func longest(_ inA: Range<Int>, _ inB: Range<Int>) -> (a: Int, b: Int, count: Int) {
        var best = (a: inA.lowerBound, b: inB.lowerBound, count: 0)
        var runs: [Int: Int] = [:]
        for i in inA {
            var next: [Int: Int] = [:]
            for j in places[a[i]] ?? [] where j >= inB.lowerBound {
                if j >= inB.upperBound { break }
                let run = (runs[j - 1] ?? 0) + 1
                next[j] = run
                if run > best.count { best = (i - run + 1, j - run + 1, run) }
            }
            runs = next
        }
        return best
    }

    var pairs: [(Int, Int)] = []
    var waiting = [(0..<a.count, 0..<b.count)]
    while let (inA, inB) = waiting.popLast() {
        let run = longest(inA, inB)
        guard run.count > 0 else { continue }
        for n in 0..<run.count { pairs.append((run.a + n, run.b + n)) }
        waiting.append((inA.lowerBound..<run.a, inB.lowerBound..<run.b))
        waiting.append((run.a + run.count..<inA.upperBound, run.b + run.count..<inB.upperBound))
    }
    return pairs.sorted { $0 < $1 }
}
