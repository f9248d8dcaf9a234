import HairpinDatapath
import HairpinEngine
import HairpinPrograms
import HairpinTransport
import HairpinWire

/// A running program and the kernel's side of its system calls.
final class Process {
    let number: UInt32
    unowned(unsafe) let kernel: NodeKernel
    /// Owned, so that system calls retain neither.
    let stack: TransportStack
    let logicalProcess: LogicalProcess
    let namespace: NamespaceIndex
    let container: Container
    let arguments: [String]
    let environmentVariables: [String: String]
    let streams: StandardStreams
    let output: OutputSink
    let parent: UInt32?
    let startedAt: Instant
    private(set) var endedAt: Instant?
    private(set) var exitStatus: Int32?
    private var program: (any Program)?
    private var waiting: WaitSet?
    /// An event that runs this process is in the queue.
    private var isScheduled = true { didSet { kernel.waiters.setSleeping(number, !isScheduled) } }
    /// Processor time the process has asked for and not yet paid.
    private var debt = Duration.zero
    private var notBefore = Instant.zero
    var ownedSockets: Set<SocketID> = []
    private var inputOffset = 0
    private var randomStream: SeededRandom

    /// Longer computations are slept off, so that interrupts go on; shorter ones hold the processor.
    /// Yields in a row after which a process counts as spinning.
    private static let patience = 10_000
    private var yields = 0
    private static let longComputation = Duration.microseconds(100)

    init(
        number: UInt32, kernel: NodeKernel, namespace: NamespaceIndex, container: Container, program: any Program, arguments: [String], environment: [String: String],
        streams: StandardStreams, output: OutputSink, parent: UInt32?, startedAt: Instant
    ) {
        self.number = number
        self.kernel = kernel
        stack = kernel.stack(namespace)
        logicalProcess = kernel.process
        self.namespace = namespace
        self.container = container
        self.program = program
        self.arguments = arguments
        environmentVariables = environment
        self.streams = streams
        self.output = output
        self.parent = parent
        self.startedAt = startedAt
        randomStream = SeededRandom(seed: kernel.seed, name: "process/\(kernel.hostName(namespace))/\(container.name)/\(container.nextProcessOrdinal())")
    }

    // MARK: Running

    /// Something this process may be waiting for has happened.
    func poke() {
        guard waiting != nil, !isScheduled, exitStatus == nil else { return }
        isScheduled = true
        kernel.schedule(self, at: max(kernel.wakeUpTime(), notBefore))
    }

    /// An event of this process is due: run it if what it waits for holds.
    func wake() {
        guard exitStatus == nil, program != nil else { return }
        let isTimer = !isScheduled
        if let waiting {
            if now < notBefore {
                kernel.schedule(self, at: notBefore)
                return
            }
            if !holds(waiting) {
                if !isTimer { isScheduled = false }
                return
            }
            stopWaiting()
        } else if isTimer {
            return  // a deadline of an earlier wait
        }
        isScheduled = true
        run()
    }

    private func run() {
        guard let program else { return }
        isSignalled = false
        switch program.resume(self) {
        case .exit(let status): finish(status)
        case .wait(let set):
            guard exitStatus == nil else { return }
            wait(set)
        }
    }

    private func wait(_ set: WaitSet) {
        notBefore = now + debt
        debt = .zero
        waiting = set
        for entry in set.sockets { kernel.wait(self, for: entry.socket) }
        if holds(set) {
            isScheduled = true
            // A process that never blocks still lets others run. One that only spins is given larger and larger slices, so that a busy loop
            // reaches its time limit.
            let isYield = set.sockets.isEmpty && set.children.isEmpty && set.files.isEmpty && set.pipes.isEmpty
            yields = isYield ? yields + 1 : 0
            let slice: Duration = yields > Process.patience ? .milliseconds(1) : .nanoseconds(1)
            kernel.schedule(self, at: max(now + slice, notBefore))
            return
        }
        yields = 0
        isScheduled = false
        if let deadline = set.deadline { kernel.schedule(self, at: max(deadline, notBefore)) }
    }

    private func stopWaiting() {
        guard let set = waiting else { return }
        for entry in set.sockets { kernel.stopWaiting(self, for: entry.socket) }
        waiting = nil
    }

    private func holds(_ set: WaitSet) -> Bool {
        if let deadline = set.deadline, now >= deadline { return true }
        for entry in set.sockets {
            let ready = readiness(entry.socket)
            // poll(2) always reports errors and hang-ups.
            if !ready.isDisjoint(with: entry.interest.union([.error, .hangup])) { return true }
        }
        for child in set.children where exitStatus(of: child) != nil { return true }
        for id in set.pipes {
            let pipe = kernel.pipe(id)
            if !pipe.bytes.isEmpty || !pipe.hasWriters || !pipe.hasReaders { return true }
            if isWriter(of: id), pipe.bytes.count < Pipe.capacity { return true }
        }
        if changedFiles || isSignalled { return true }
        return set.deadline == nil && set.sockets.isEmpty && set.children.isEmpty && set.pipes.isEmpty && set.files.isEmpty
    }

    private func isWriter(of id: PipeID) -> Bool { streams.output == .pipe(id) || streams.error == .pipe(id) }

    private var changedFiles = false
    /// Asked to end, and not run since.
    private var isSignalled = false

    /// The signal that asks a container's first process to end; it is handed to nobody else.
    func askToEnd() {
        guard exitStatus == nil, let program else { return }
        switch program.terminate() {
        case .ends: endFamily(143)
        case .ignores: break
        case .drains:
            isSignalled = true
            poke()
        }
    }

    func isWaiting(forFile path: String, in tree: FileSystem) -> Bool {
        guard let waiting, !waiting.files.isEmpty else { return false }
        for file in waiting.files {
            let place = container.resolve(file)
            if place.tree === tree, place.path == path {
                changedFiles = true
                return true
            }
        }
        return false
    }

    func isWaiting(forPipe id: PipeID) -> Bool {
        guard let waiting else { return false }
        return waiting.pipes.contains(id) || streams.input == .pipe(id) || isWriter(of: id)
    }

    func finish(_ status: Int32) {
        guard exitStatus == nil else { return }
        stopWaiting()
        exitStatus = status
        endedAt = now
        program = nil
        for socket in ownedSockets.sorted(by: { $0.rawValue < $1.rawValue }) { stack.close(socket) }
        ownedSockets.removeAll()
        kernel.process.runSoftirqs()
        kernel.ended(self)
    }

    /// Ends the process and its descendants, also those whose parent has ended before them.
    func endFamily(_ status: Int32) {
        finish(status)
        // A child's number is greater than its parent's, so one pass finds every generation.
        var family: Set<UInt32> = [number]
        for other in kernel.processes.dropFirst(Int(number)) {
            guard let parent = other.parent, family.contains(parent) else { continue }
            family.insert(other.number)
            other.finish(status)
        }
    }

    // MARK: Output

    func emit(_ text: String, to stream: HairpinPrograms.Stream) {
        switch stream {
        case .terminal:
            output.output.append(contentsOf: text.utf8)
            kernel.tell(output, text, isError: false)
        case .terminalError:
            output.errorOutput.append(contentsOf: text.utf8)
            kernel.tell(output, text, isError: true)
        case .null: break
        case .file(let path, _):
            // The shell has truncated the file when it opened it.
            _ = writeFile(path, Array(text.utf8), append: true)
        case .pipe(let id):
            let pipe = kernel.pipe(id)
            guard pipe.hasReaders else { return finish(141) }
            pipe.bytes.append(contentsOf: text.utf8)
            kernel.wakePipe(id)
        }
    }
}

extension Process: SystemCalls {
    var now: Instant { logicalProcess.now }
    var hostname: String { environmentVariables["HOSTNAME"] ?? kernel.hostName(namespace) }
    var processID: ProcessID { ProcessID(number) }
    func environment(_ name: String) -> String? { environmentVariables[name] }
    func random() -> UInt32 { randomStream.next32() }

    func processes() -> [ProcessInformation] {
        kernel.processes.filter { $0.container === container && $0.exitStatus == nil }
            .map { ProcessInformation(id: ProcessID($0.number), arguments: $0.arguments, startedAt: $0.startedAt) }
    }

    func compute(_ time: Duration) {
        if time > Process.longComputation { debt += time } else { kernel.process.compute(time) }
    }

    func spawn(_ program: any Program, arguments: [String], environment: [String: String], streams: StandardStreams) -> ProcessID {
        let child = kernel.start(
            program, arguments: arguments, environment: environment, streams: streams, namespace: namespace, container: container, output: output, parent: number)
        if case .file(let path, let append) = streams.output, !append { _ = writeFile(path, [], append: false) }
        if case .file(let path, let append) = streams.error, !append, streams.error != streams.output { _ = writeFile(path, [], append: false) }
        return ProcessID(child.number)
    }

    func exitStatus(of child: ProcessID) -> Int32? { kernel.processes[Int(child.rawValue)].exitStatus }

    func kill(_ child: ProcessID, signal: Int32) {
        let target = kernel.processes[Int(child.rawValue)]
        guard target.container === container else { return }
        target.finish(128 + signal)
    }

    func makePipe() -> PipeID { kernel.makePipe(self) }

    func readInput(_ count: Int) -> [UInt8]? {
        switch streams.input {
        case .terminal, .terminalError, .null: return []
        case .file(let path, _):
            guard let bytes = readFile(path, from: inputOffset) else { return [] }
            let piece = Array(bytes.prefix(count))
            inputOffset += piece.count
            return piece
        case .pipe(let id): return readPipe(id, count)
        }
    }

    func readPipe(_ id: PipeID, _ count: Int) -> [UInt8]? {
        let pipe = kernel.pipe(id)
        if pipe.bytes.isEmpty { return pipe.hasWriters ? nil : [] }
        let piece = Array(pipe.bytes.prefix(count))
        pipe.bytes.removeFirst(piece.count)
        kernel.wakePipe(id)
        return piece
    }

    func closePipe(_ pipe: PipeID) { kernel.closePipe(pipe, by: self) }
    func writeOutput(_ text: String) { emit(text, to: streams.output) }
    func writeError(_ text: String) { emit(text, to: streams.error) }

    // MARK: Files

    func readFile(_ path: String) -> [UInt8]? {
        if path == "/dev/null" { return [] }
        if let bytes = procFile(path) { return bytes }
        let place = container.resolve(path)
        return place.tree.read(place.path)
    }

    func readFile(_ path: String, from offset: Int) -> [UInt8]? {
        if path == "/dev/null" { return [] }
        if let bytes = procFile(path) { return Array(bytes.dropFirst(offset)) }
        let place = container.resolve(path)
        changedFiles = false
        return place.tree.read(place.path, from: offset)
    }

    func writeFile(_ path: String, _ bytes: [UInt8], append: Bool) -> Bool {
        switch path {
        case "/dev/null": return true
        case "/dev/stdout":
            emit(String(decoding: bytes, as: UTF8.self), to: streams.output)
            return true
        case "/dev/stderr":
            emit(String(decoding: bytes, as: UTF8.self), to: streams.error)
            return true
        default:
            let place = container.resolve(path)
            if place.isReadOnly { return false }
            guard place.tree.write(place.path, bytes, append: append) else { return false }
            kernel.fileChanged(place.tree, place.path)
            return true
        }
    }

    func removeFile(_ path: String) -> Bool {
        let place = container.resolve(path)
        guard !place.isReadOnly, place.tree.remove(place.path) else { return false }
        kernel.fileChanged(place.tree, place.path)
        return true
    }

    func listFolder(_ path: String) -> [String]? {
        let place = container.resolve(path)
        return place.tree.list(place.path)
    }

    func makeFolder(_ path: String) -> Bool {
        let place = container.resolve(path)
        return !place.isReadOnly && place.tree.makeFolder(place.path)
    }

    func isMounted(_ path: String) -> Bool { container.resolve(path).isMounted }
}
