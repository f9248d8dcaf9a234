/// find(1): folders, `-name`, `-type`, `-maxdepth`, `-print`.
enum Find {
    static func program(_ arguments: [String]) -> any Program {
        Immediate { system in
            let starts = arguments.prefix { !$0.hasPrefix("-") }
            var words = arguments.dropFirst(starts.count)
            var name: String?, type: String?
            var depth = 64
            while let word = words.popFirst() {
                if word == "-print" { continue }
                guard ["-name", "-type", "-maxdepth"].contains(word) else {
                    system.writeError("find: unknown predicate `\(word)'\n")
                    return 1
                }
                guard let value = words.popFirst() else {
                    system.writeError("find: missing argument to `\(word)'\n")
                    return 1
                }
                switch word {
                case "-name": name = value
                case "-type": type = value
                default: depth = min(Int(value) ?? depth, depth)
                }
            }
            var status: Int32 = 0
            /// Folders are seen before what is in them; links there are none.
            func visit(_ shown: String, _ path: String, _ level: Int) {
                let names = system.listFolder(path)
                guard names != nil || system.readFile(path) != nil else {
                    system.writeError("find: ‘\(shown)’: No such file or directory\n")
                    status = 1
                    return
                }
                let last = shown.split(separator: "/").last.map(String.init) ?? shown
                let isWanted = type == nil || type == (names == nil ? "f" : "d")
                if isWanted, name.map({ matchesGlob(Array($0)[...], Array(last)[...]) }) ?? true { system.writeOutput(shown + "\n") }
                guard level < depth else { return }
                for inner in names ?? [] { visit(shown.hasSuffix("/") ? shown + inner : shown + "/" + inner, path.hasSuffix("/") ? path + inner : path + "/" + inner, level + 1) }
            }
            for start in starts.isEmpty ? ["."] : Array(starts) { visit(start, absolutePath(start, system), 0) }
            return status
        }
    }

    /// `*` and `?`; the text is walked once for each star, so that no pattern takes long.
    private static func matchesGlob(_ pattern: ArraySlice<Character>, _ text: ArraySlice<Character>) -> Bool {
        var (pattern, text) = (pattern, text)
        var retry: (pattern: ArraySlice<Character>, text: ArraySlice<Character>)?
        while true {
            if pattern.first == "*" {
                pattern = pattern.dropFirst()
                retry = (pattern, text)
            } else if let c = text.first, pattern.first == "?" || pattern.first == c {
                (pattern, text) = (pattern.dropFirst(), text.dropFirst())
            } else if text.isEmpty, pattern.isEmpty {
                return true
            } else if let (rest, from) = retry, !from.isEmpty {
                retry = (rest, from.dropFirst())
                (pattern, text) = (rest, from.dropFirst())
            } else {
                return false
            }
        }
    }
}
