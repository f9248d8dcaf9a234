import HairpinEngine
import HairpinTransport

/// A pipe of the script: how many bytes are in it; what they are does not matter. Sixteen pages, as pipe(7) says.
final class ScriptPipe {
    static let capacity = 65_536
    var count = 0
    var hasWriter = true
    var hasReader = true
}

/// open, pipe, splice and sendfile: files are zeros without end, and so is what comes out of them.
extension ScriptRun {
    func openFile(_ call: ScriptCall) throws(ScriptStop) -> CallOutcome {
        let number = try integer(call.result)
        descriptors[number] = ScriptDescriptor(.file)
        return .value(number)
    }

    /// `pipe([5, 6])`: the end to read from, and the one to write to.
    func openPipe(_ call: ScriptCall) throws(ScriptStop) -> CallOutcome {
        guard case .list(let ends) = try argument(call, 0), ends.count == 2 else { throw .unsupported(line, "this kind of pipe") }
        let pipe = ScriptPipe()
        descriptors[try integer(ends[0])] = ScriptDescriptor(.pipe(pipe, isWriter: false))
        descriptors[try integer(ends[1])] = ScriptDescriptor(.pipe(pipe, isWriter: true))
        return .value(0)
    }

    /// read(2) and write(2) on files and pipes.
    func transferLocally(_ call: ScriptCall, _ descriptor: ScriptDescriptor) throws(ScriptStop) -> CallOutcome {
        let count = max(0, Int(clamping: try number(call, 2)))
        switch (descriptor.kind, call.name) {
        case (.file, "read"), (.file, "write"): return .value(Int64(count))
        case (.pipe(let pipe, let isWriter), "write"):
            guard isWriter else { return .error(Errno.badFileDescriptor.rawValue) }
            guard pipe.hasReader else { return .error(Errno.brokenPipe.rawValue) }
            let taken = min(count, ScriptPipe.capacity - pipe.count)
            if taken == 0, count > 0 { return descriptor.isNonblocking ? .error(Errno.tryAgain.rawValue) : .blocked }
            pipe.count += taken
            return .value(Int64(taken))
        case (.pipe(let pipe, let isWriter), "read"):
            guard !isWriter else { return .error(Errno.badFileDescriptor.rawValue) }
            if pipe.count == 0, pipe.hasWriter { return descriptor.isNonblocking ? .error(Errno.tryAgain.rawValue) : .blocked }
            let taken = min(count, pipe.count)
            pipe.count -= taken
            return .value(Int64(taken))
        default: return .error(Errno.invalid.rawValue)
        }
    }

    func closeLocally(_ descriptor: ScriptDescriptor) {
        guard case .pipe(let pipe, let isWriter) = descriptor.kind else { return }
        if isWriter { pipe.hasWriter = false } else { pipe.hasReader = false }
    }

    /// sendfile(2) from a file to a socket: as if the bytes were written, in as many steps as the send buffer asks for.
    func sendFile(_ call: ScriptCall, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        guard let out = descriptors[try number(call, 0)], let source = descriptors[try number(call, 1)] else { return .error(Errno.badFileDescriptor.rawValue) }
        guard case .file = source.kind, let socket = out.socket else { return .error(Errno.invalid.rawValue) }
        let count = Int(clamping: try number(call, 3))
        guard 0...(1 << 26) ~= count else { throw .unsupported(line, "a transfer of \(count) bytes") }
        return try write(socket, count, waits: !out.isNonblocking, [], &state)
    }

    /// `splice(IN, offset, OUT, offset, count, flags)` between a pipe and a socket or file.
    func splice(_ call: ScriptCall, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        guard let source = descriptors[try number(call, 0)], let target = descriptors[try number(call, 2)] else { return .error(Errno.badFileDescriptor.rawValue) }
        let count = max(0, Int(clamping: try number(call, 4)))
        let flags = call.arguments.count > 5 ? try number(call, 5) : 0
        let waits = flags & 2 == 0
        switch (source.kind, target.kind) {
        case (.socket(let socket), .pipe(let pipe, isWriter: true)):
            let room = min(count, ScriptPipe.capacity - pipe.count)
            guard room > 0 else { return count == 0 ? .value(0) : waits ? .blocked : .error(Errno.tryAgain.rawValue) }
            do throws(Errno) {
                let taken = try host.stack.receive(socket, room, flags: .truncate)
                pipe.count += taken
                return .value(Int64(taken))
            } catch {
                // SPLICE_F_NONBLOCK is for the pipe; the socket waits unless it is O_NONBLOCK itself (`tcp_splice_read`).
                return error == .tryAgain && !source.isNonblocking ? .blocked : .error(error.rawValue)
            }
        case (.file, .pipe(let pipe, isWriter: true)):
            let taken = min(count, ScriptPipe.capacity - pipe.count)
            pipe.count += taken
            return .value(Int64(taken))
        case (.pipe(let pipe, isWriter: false), .socket(let socket)):
            if pipe.count == 0 { return pipe.hasWriter ? (waits ? .blocked : .error(Errno.tryAgain.rawValue)) : .value(0) }
            let before = state.count
            // SPLICE_F_MORE is MSG_MORE.
            let result = try write(socket, min(count, pipe.count + before), waits: waits && !target.isNonblocking, flags & 4 != 0 ? .more : [], &state)
            pipe.count -= state.count - before
            return result
        case (.pipe(let pipe, isWriter: false), .file):
            let taken = min(count, pipe.count)
            pipe.count -= taken
            return .value(Int64(taken))
        default: return .error(Errno.invalid.rawValue)
        }
    }

    private func write(_ socket: SocketID, _ count: Int, waits: Bool, _ flags: TransferFlags, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        do throws(Errno) {
            while state.count < count {
                state.count += try host.stack.send(socket, [UInt8](repeating: 0, count: count - state.count)[...], flags: flags)
                if !waits { break }
            }
            return .value(Int64(state.count))
        } catch {
            if error == .tryAgain, waits { return .blocked }
            return state.count > 0 ? .value(Int64(state.count)) : .error(error.rawValue)
        }
    }
}
