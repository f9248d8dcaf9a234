import HairpinEngine
import HairpinTransport

/// An epoll instance (`fs/eventpoll.c`): what is of interest, and the list of what may be ready, in the order it became so.
final class ScriptEpoll {
    struct Interest {
        var socket: SocketID
        var events: Int64
        /// What epoll_wait gives back: the fd of the structure, or any other member of the union.
        var data: Int64
        func has(_ bit: Int64) -> Bool { events & bit != 0 }
        /// Nothing but the bits that say how to report (EP_PRIVATE_BITS): switched off until it is changed.
        var isDisabled: Bool { events & ~(ScriptEpoll.edge | ScriptEpoll.once | ScriptEpoll.exclusive | ScriptEpoll.wakeup) == 0 }
    }
    static let exclusive: Int64 = 1 << 28, wakeup: Int64 = 1 << 29, once: Int64 = 1 << 30, edge: Int64 = 1 << 31
    /// What EPOLLEXCLUSIVE goes with: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP.
    static let exclusiveCompanions: Int64 = 1 | 4 | 8 | 16 | wakeup | edge | exclusive

    var interests: [Int64: Interest] = [:]
    var ready: [Int64] = []

    func forget(_ socket: SocketID) {
        interests = interests.filter { $0.value.socket != socket }
        ready.removeAll { interests[$0] == nil }
    }

    func markReady(_ descriptor: Int64) { if !ready.contains(descriptor) { ready.append(descriptor) } }

    /// `ep_poll_callback`: news about something else than what is of interest does not count.
    func note(_ socket: SocketID, about bits: Int64) {
        for (descriptor, interest) in interests.sorted(by: { $0.key < $1.key }) where interest.socket == socket && !interest.isDisabled {
            if bits == 0 || interest.events & bits != 0 { markReady(descriptor) }
        }
    }
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
        for (socket, reason) in host.takeNews() {
            let bits = ScriptRun.bits(reason)
            for descriptor in descriptors.values { if case .epoll(let epoll) = descriptor.kind { epoll.note(socket, about: bits) } }
        }
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

    /// What poll(2) would say of a descriptor if asked for everything.
    private func everything(_ descriptor: ScriptDescriptor) -> Int64 {
        switch descriptor.kind {
        case .socket(let socket): ScriptRun.bits(host.stack.readiness(socket))
        case .file: 1 | 4 | 0x40 | 0x100
        case .pipe(let pipe, isWriter: true): (pipe.count < ScriptPipe.capacity ? 4 | 0x100 : 0) | (pipe.hasReader ? 0 : 8)
        case .pipe(let pipe, isWriter: false): (pipe.count > 0 ? 1 | 0x40 : 0) | (pipe.hasWriter ? 0 : 16)
        case .epoll(let epoll):
            epoll.ready.contains { name in epoll.interests[name].map { reports($0) != 0 } ?? false } ? 1 | 0x40 : 0
        }
    }

    private func reports(_ interest: ScriptEpoll.Interest) -> Int64 {
        interest.isDisabled ? 0 : ScriptRun.bits(host.stack.readiness(interest.socket)) & interest.events
    }

    func poll(_ call: ScriptCall, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        guard case .list(let items) = try argument(call, 0) else { throw .unsupported(line, "this kind of poll set") }
        distributeNews()
        var results: [(wanted: Int64?, actual: Int64)] = []
        for item in items {
            guard case .structure(let fields) = item, let fd = field(fields, "fd"), let events = field(fields, "events") else {
                throw .unsupported(line, "this kind of poll set")
            }
            let mask = try integer(events.value)
            let name = try integer(fd.value)
            // A negative number is passed over.
            var actual: Int64 = name < 0 ? 0 : ScriptSymbols.values["POLLNVAL"]!
            if let descriptor = descriptors[name] { actual = everything(descriptor) & (mask | ScriptRun.always) }
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
        let name = try number(call, 2)
        guard let descriptor = descriptors[try number(call, 0)], let target = descriptors[name] else { return .error(Errno.badFileDescriptor.rawValue) }
        // A file is always ready, and has nothing to wait for.
        if case .file = target.kind { return .error(Errno.notPermitted.rawValue) }
        guard case .epoll(let epoll) = descriptor.kind, target !== descriptor else { return .error(Errno.invalid.rawValue) }
        guard let socket = target.socket else { throw .unsupported(line, "epoll_ctl on a descriptor that is no socket") }
        distributeNews()
        let operation = try number(call, 1)
        let present = epoll.interests[name]
        if operation == 2 {
            guard present != nil else { return .error(2) }
            epoll.interests[name] = nil
            epoll.ready.removeAll { $0 == name }
            return .value(0)
        }
        guard operation == 1 || operation == 3 else { return .error(Errno.invalid.rawValue) }
        guard case .structure(let fields) = try argument(call, 3) else { throw .unsupported(line, "this kind of epoll event") }
        let (events, data) = try epollEvent(fields)
        if events & ScriptEpoll.exclusive != 0, operation == 3 || events & ~ScriptEpoll.exclusiveCompanions != 0 { return .error(Errno.invalid.rawValue) }
        if operation == 1, present != nil { return .error(Errno.exists.rawValue) }
        if operation == 3 {
            guard let present else { return .error(2) }
            guard !present.has(ScriptEpoll.exclusive) else { return .error(Errno.invalid.rawValue) }
        }
        let interest = ScriptEpoll.Interest(socket: socket, events: events | ScriptRun.always, data: data ?? name)
        epoll.interests[name] = interest
        if reports(interest) != 0 { epoll.markReady(name) }
        return .value(0)
    }

    private func epollEvent(_ fields: [ScriptField]) throws(ScriptStop) -> (Int64, Int64?) {
        var events: Int64 = 0
        if let mask = field(fields, "events") { events = try integer(mask.value) }
        for name in ["fd", "ptr", "u32", "u64"] { if let data = field(fields, name) { return (events, try integer(data.value)) } }
        return (events, nil)
    }

    func waitForEpoll(_ call: ScriptCall, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        guard let descriptor = descriptors[try number(call, 0)] else { return .error(Errno.badFileDescriptor.rawValue) }
        let most = Int(clamping: try number(call, 2))
        guard most > 0, case .epoll(let epoll) = descriptor.kind else { return .error(Errno.invalid.rawValue) }
        distributeNews()
        var wanted: [[ScriptField]] = []
        switch try argument(call, 1) {
        case .structure(let fields): wanted = [fields]
        case .list(let items): for case .structure(let fields) in items { wanted.append(fields) }
        case .ellipsis: break
        default: throw .unsupported(line, "this kind of epoll event")
        }
        let reported = takeEvents(epoll, most)
        if reported.isEmpty, try !deadline(number(call, 3), &state) { return .blocked }
        for (fields, actual) in zip(wanted, reported) {
            let (events, data) = try epollEvent(fields)
            if events != actual.events {
                throw .failed(line: line, "other events of epoll_wait", expected: "events=\(text(events, "EPOLL"))", actual: "events=\(text(actual.events, "EPOLL"))")
            }
            if let data, data != actual.data { throw .failed(line: line, "other data of epoll_wait", expected: "\(data)", actual: "\(actual.data)") }
        }
        return .value(Int64(reported.count))
    }

    /// `ep_send_events`: what is still ready is reported; what is level-triggered goes to the end of the list, to be looked at again.
    private func takeEvents(_ epoll: ScriptEpoll, _ most: Int) -> [(events: Int64, data: Int64)] {
        var reported: [(events: Int64, data: Int64)] = []
        var rest = epoll.ready[...]
        epoll.ready = []
        while reported.count < most, let name = rest.popFirst() {
            guard let interest = epoll.interests[name] else { continue }
            let bits = reports(interest)
            guard bits != 0 else { continue }
            reported.append((bits, interest.data))
            if interest.has(ScriptEpoll.once) {
                epoll.interests[name]?.events &= ScriptEpoll.edge | ScriptEpoll.once | ScriptEpoll.exclusive | ScriptEpoll.wakeup
            } else if !interest.has(ScriptEpoll.edge) {
                epoll.ready.append(name)
            }
        }
        epoll.ready = rest + epoll.ready
        return reported
    }
}
