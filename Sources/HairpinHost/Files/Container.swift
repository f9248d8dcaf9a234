import HairpinDatapath
import HairpinEngine

/// Names a volume of a simulation.
public struct VolumeID: Hashable, Sendable {
    let index: Int
}

/// Names a container of a simulation: its files and mounts. Containers of a pod share the pod's network namespace.
public struct ContainerID: Hashable, Sendable {
    let index: Int
}

/// A container's view of files: its own tree, and volumes mounted into it.
final class Container {
    let name: String
    let files = FileSystem()
    private let mounts: [(path: String, volume: FileSystem, isReadOnly: Bool)]
    private var processCount = 0
    /// The logical process that its processes are in.
    private var logicalProcess: Int?

    init(name: String, mounts: [(path: String, volume: FileSystem, isReadOnly: Bool)]) {
        self.name = name
        // The deepest mount wins.
        self.mounts = mounts.map { (FileSystem.normalise($0.path), $0.volume, $0.isReadOnly) }.sorted { $0.path.count > $1.path.count }
        for folder in ["/bin", "/dev", "/etc", "/proc", "/root", "/run", "/tmp", "/usr/share", "/var/log/nginx", "/var/run", "/home"] { _ = files.makeFolder(folder) }
        for mount in self.mounts { _ = files.makeFolder(mount.path) }
    }

    /// Notes that a process of this container runs in a logical process. Another one may have neither the container nor a volume that is written to:
    /// the two may run at the same time.
    func claim(for logicalProcess: Int) {
        if self.logicalProcess == logicalProcess { return }
        precondition(self.logicalProcess == nil, "\(name): the processes of a container are in one logical process")
        self.logicalProcess = logicalProcess
        for mount in mounts { mount.volume.claim(for: logicalProcess, isReadOnly: mount.isReadOnly) }
    }

    /// Counts this container's processes: names of random streams must not depend on what other containers do.
    func nextProcessOrdinal() -> Int {
        processCount += 1
        return processCount
    }

    /// The tree a path is in and its name there. A mount of a single file (`subPath`) is a volume with that one name.
    func resolve(_ path: String) -> (tree: FileSystem, path: String, isReadOnly: Bool, isMounted: Bool) {
        let path = FileSystem.normalise(path)
        for mount in mounts {
            if path == mount.path { return (mount.volume, "/", mount.isReadOnly, true) }
            if path.hasPrefix(mount.path + "/") { return (mount.volume, String(path.dropFirst(mount.path.count)), mount.isReadOnly, true) }
        }
        return (files, path, false, false)
    }
}
