import HairpinEngine
import HairpinTransport

/// An epoll instance: level- or edge-triggered interest in sockets, in the order of their addition.
final class ScriptEpoll {
    struct Interest {
        var descriptor: Int64
        var socket: SocketID
        var events: Int64
        /// What epoll_wait gives back: the fd of the structure, or any other member of the union.
        var data: Int64
        /// News since the last report; being added or changed is news.
        var isPending = true
        var isDisabled = false
        var isEdgeTriggered: Bool { events & ScriptSymbols.values["EPOLLET"]! != 0 }
    }
    var interests: [Interest] = []

    func forget(_ socket: SocketID) { interests.removeAll { $0.socket == socket } }
    func note(_ news: Set<SocketID>) { for i in interests.indices where news.contains(interests[i].socket) { interests[i].isPending = true } }
}

/// poll(2) and epoll(7).
extension ScriptRun {
    /// Readiness in the bits of poll(2); epoll's are the same.
    static func bits(_ readiness: Readiness) -> Int64 {
        var bits: Int64 = 0
        if readiness.contains(.readable) { bits |= 1 | 0x40 }
        if readiness.contains(.urgent) { bits |= 2 }
        if readiness.contains(.writable) { bits |= 4 | 0x100 }
        if readiness.contains(.error) { bits |= 8 }
        if readiness.contains(.hangup) { bits |= 16 }
        if readiness.contains(.readHangup) { bits |= 0x2000 }
        return bits
    }
    /// POLLERR and POLLHUP are reported unasked.
    private static let always: Int64 = 8 | 16

    private func distributeNews() {
        let news = host.takeNews()
        guard !news.isEmpty else { return }
        for descriptor in descriptors.values { if case .epoll(let epoll) = descriptor.kind { epoll.note(news) } }
    }

    private func deadline(_ milliseconds: Int64, _ state: inout ScriptCallState) -> Bool {
        if milliseconds == 0 { return true }
        guard milliseconds > 0 else { return false }
        if state.deadline == nil { state.deadline = host.now + .milliseconds(milliseconds) }
        return host.now >= state.deadline!
    }

    private func text(_ bits: Int64, _ prefix: String) -> String {
        let names = ["IN", "PRI", "OUT", "ERR", "HUP", "RDNORM", "WRNORM", "RDHUP"].filter { bits & (ScriptSymbols.values["POLL" + $0] ?? 0) != 0 }
        return names.isEmpty ? "0" : names.map { prefix + $0 }.joined(separator: "|")
    }

    func poll(_ call: ScriptCall, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        guard case .list(let items) = try argument(call, 0) else { throw .unsupported(line, "this kind of poll set") }
        var results: [(wanted: Int64?, actual: Int64)] = []
        for item in items {
            guard case .structure(let fields) = item, let fd = field(fields, "fd"), let events = field(fields, "events") else {
                throw .unsupported(line, "this kind of poll set")
            }
            let mask = try integer(events.value)
            var actual: Int64 = 32  // POLLNVAL
            if let socket = descriptors[try integer(fd.value)]?.socket {
                actual = ScriptRun.bits(host.stack.readiness(socket)) & (mask | ScriptRun.always)
            }
            var wanted: Int64?
            if let revents = field(fields, "revents"), revents.value != .ellipsis { wanted = try integer(revents.value) }
            results.append((wanted, actual))
        }
        let ready = results.filter { $0.actual != 0 }.count
        if ready == 0, try !deadline(number(call, 2), &state) { return .blocked }
        for result in results {
            if let wanted = result.wanted, wanted != result.actual {
                throw .failed(line: line, "other events of poll", expected: "revents=\(text(wanted, "POLL"))", actual: "revents=\(text(result.actual, "POLL"))")
            }
        }
        return .value(Int64(ready))
    }

    func controlEpoll(_ call: ScriptCall) throws(ScriptStop) -> CallOutcome {
        guard let descriptor = descriptors[try number(call, 0)], case .epoll(let epoll) = descriptor.kind else { return .error(Errno.badFileDescriptor.rawValue) }
        let name = try number(call, 2)
        guard let socket = descriptors[name]?.socket else { return .error(Errno.badFileDescriptor.rawValue) }
        distributeNews()
        let operation = try number(call, 1)
        let index = epoll.interests.firstIndex { $0.descriptor == name }
        if operation == 2 {
            guard let index else { return .error(2) }
            epoll.interests.remove(at: index)
            return .value(0)
        }
        guard case .structure(let fields) = try argument(call, 3) else { throw .unsupported(line, "this kind of epoll event") }
        let (events, data) = try epollEvent(fields)
        let interest = ScriptEpoll.Interest(descriptor: name, socket: socket, events: events, data: data ?? name)
        if operation == 1 {
            guard index == nil else { return .error(Errno.exists.rawValue) }
            epoll.interests.append(interest)
        } else {
            guard let index else { return .error(2) }
            epoll.interests[index] = interest
        }
        return .value(0)
    }

    private func epollEvent(_ fields: [ScriptField]) throws(ScriptStop) -> (Int64, Int64?) {
        var events: Int64 = 0
        if let mask = field(fields, "events") { events = try integer(mask.value) }
        for name in ["fd", "ptr", "u32", "u64"] { if let data = field(fields, name) { return (events, try integer(data.value)) } }
        return (events, nil)
    }

    func waitForEpoll(_ call: ScriptCall, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        guard let descriptor = descriptors[try number(call, 0)], case .epoll(let epoll) = descriptor.kind else { return .error(Errno.badFileDescriptor.rawValue) }
        distributeNews()
        var wanted: [[ScriptField]] = []
        switch try argument(call, 1) {
        case .structure(let fields): wanted = [fields]
        case .list(let items): for case .structure(let fields) in items { wanted.append(fields) }
        case .ellipsis: break
        default: throw .unsupported(line, "this kind of epoll event")
        }
        let most = Int(clamping: try number(call, 2))
        var reported: [(events: Int64, data: Int64)] = []
        for i in epoll.interests.indices where reported.count < most {
            let interest = epoll.interests[i]
            guard !interest.isDisabled, !interest.isEdgeTriggered || interest.isPending else { continue }
            let bits = ScriptRun.bits(host.stack.readiness(interest.socket)) & (interest.events | ScriptRun.always)
            epoll.interests[i].isPending = false
            guard bits != 0 else { continue }
            if interest.events & ScriptSymbols.values["EPOLLONESHOT"]! != 0 { epoll.interests[i].isDisabled = true }
            reported.append((bits, interest.data))
        }
        if reported.isEmpty, try !deadline(number(call, 3), &state) { return .blocked }
        for (fields, actual) in zip(wanted, reported) {
            let (events, _) = try epollEvent(fields)
            if events != actual.events {
                throw .failed(line: line, "other events of epoll_wait", expected: "events=\(text(events, "EPOLL"))", actual: "events=\(text(actual.events, "EPOLL"))")
            }
        }
        return .value(Int64(reported.count))
    }
}
