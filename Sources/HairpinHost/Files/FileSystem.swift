/// A tree of files in memory: a container's own, or a volume that several containers mount. Paths are absolute and normalised.
final class FileSystem {
    private var files: [String: [UInt8]] = [:]
    private var folders: Set<String> = ["/"]
    /// Logical processes whose containers mount it, and whether one of them may write.
    private var users: Set<Int> = []
    private var isWritable = false

    /// Notes that containers of a logical process use it. Where several do, all of them only read.
    func claim(for logicalProcess: Int, isReadOnly: Bool) {
        users.insert(logicalProcess)
        isWritable = isWritable || !isReadOnly
        precondition(users.count == 1 || !isWritable, "a volume that is written to belongs to one logical process")
    }

    func read(_ path: String) -> [UInt8]? { files[path] }

    /// The bytes from `offset` on; empty at the end, nil if there is no such file.
    func read(_ path: String, from offset: Int) -> [UInt8]? {
        guard let bytes = files[path] else { return nil }
        return offset >= bytes.count ? [] : Array(bytes[max(offset, 0)...])
    }

    func write(_ path: String, _ bytes: [UInt8], append: Bool) -> Bool {
        guard path != "/", !folders.contains(path), folders.contains(FileSystem.parent(of: path)) else { return false }
        if append { files[path, default: []].append(contentsOf: bytes) } else { files[path] = bytes }
        return true
    }

    func remove(_ path: String) -> Bool {
        if files.removeValue(forKey: path) != nil { return true }
        guard path != "/", folders.contains(path), list(path)?.isEmpty == true else { return false }
        folders.remove(path)
        return true
    }

    func list(_ path: String) -> [String]? {
        guard folders.contains(path) else { return nil }
        let prefix = path == "/" ? "/" : path + "/"
        let names = (Array(files.keys) + Array(folders)).filter { $0.hasPrefix(prefix) && $0.utf8.count > prefix.utf8.count }
            .map { $0.dropFirst(prefix.count) }.filter { !$0.contains("/") }.map(String.init)
        return names.sorted()
    }

    func makeFolder(_ path: String) -> Bool {
        guard files[path] == nil else { return false }
        var partial = ""
        for part in path.split(separator: "/") {
            partial += "/" + part
            if files[partial] != nil { return false }
            folders.insert(partial)
        }
        return true
    }

    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    /// Absolute, without ".", ".." and doubled or trailing slashes.
    static func normalise(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") {
            switch part {
            case ".": continue
            case "..": _ = parts.popLast()
            default: parts.append(part)
            }
        }
        return "/" + parts.joined(separator: "/")
    }
}
