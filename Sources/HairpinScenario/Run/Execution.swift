import HairpinEngine

/// `hairpin exec`: one command in a booted cluster.
public final class Execution {
    private let world: World
    private let hooks: RunHooks

    /// With several `threads` nodes run at once; the result does not depend on it.
    public init(_ loaded: LoadedScenario, threads: Int = 1, hooks: RunHooks) throws(Failure) {
        self.hooks = hooks
        world = try World(loaded, seed: loaded.scenario.seed, threads: threads, log: hooks.log)
    }

    /// The command's exit status. Its output is handed over as it comes; an interruption ends it as Ctrl-C would.
    public func run(_ words: [String], in place: Place, container: String?, output: (StreamName, [UInt8]) throws(Failure) -> Void) throws(Failure) -> Int32 {
        // A pod may have to wait for others before it is made.
        _ = try world.resolve(place, container: container, ahead: true)
        world.settle(isInterrupted: hooks.isInterrupted)
        if hooks.isInterrupted() { throw Failure(.interrupted, "interrupted") }
        let target = try world.resolve(place, container: container)
        if let life = target.container, let pod = target.pod, !life.isRunning {
            throw Failure(.notFound, "error: Internal error occurred: container \(life.container.name) of pod \(pod.pod.metadata.name) is not running")
        }
        let screen = Screen()
        guard let handle = world.start(words, on: target, observer: screen.take) else {
            let container = target.container?.container.name ?? target.host
            try output(.stderr, Array("error: \(container): exec: \"\(words[0])\": executable file not found in $PATH\n".utf8))
            return 127
        }
        var count: UInt = 0
        var isInterrupted = false
        while handle.exitStatus == nil, !isInterrupted {
            world.advance(to: world.simulation.now + .milliseconds(100)) {
                count &+= 1
                if count & 0xfff == 0, hooks.isInterrupted() { isInterrupted = true }
                return handle.exitStatus == nil && !isInterrupted
            }
            isInterrupted = isInterrupted || hooks.isInterrupted()
            for (text, isError) in screen.drain() { try output(isError ? .stderr : .stdout, Array(text.utf8)) }
            hooks.progress(RunProgress(scenario: place.description, now: world.simulation.now, activity: words[0]))
        }
        for (text, isError) in screen.drain() { try output(isError ? .stderr : .stdout, Array(text.utf8)) }
        if isInterrupted { throw Failure(.interrupted, "interrupted") }
        let books = BooksResult(world.simulation.books)
        guard books.balanced else { throw Failure(.internalFault, "the books do not balance: \(books.sentence)") }
        return handle.exitStatus ?? 0
    }

    private final class Screen {
        private var pieces: [(String, Bool)] = []
        func take(_ text: String, _ isError: Bool) { pieces.append((text, isError)) }
        func drain() -> [(String, Bool)] {
            defer { pieces.removeAll() }
            return pieces
        }
    }
}
