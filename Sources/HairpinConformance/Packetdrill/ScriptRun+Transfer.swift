import HairpinEngine
import HairpinTransport

/// Reading, writing, and socket options.
extension ScriptRun {
    /// The length of a buffer argument: of `...` and the count beside it, or of a vector.
    private func vectorLength(_ expression: ScriptExpression) throws(ScriptStop) -> Int {
        if case .ellipsis = expression { return 0 }
        guard case .list(let items) = expression else { throw .unsupported(line, "this kind of vector") }
        var total = 0
        for item in items {
            guard case .structure(let fields) = item, let last = fields.last else { throw .unsupported(line, "this kind of vector") }
            total += Int(clamping: try integer(last.value))
        }
        return total
    }

    /// A buffer argument other than `...` is an address at which a program has nothing.
    private func isBadBuffer(_ call: ScriptCall) -> Bool {
        guard ["read", "write", "send", "recv", "sendto", "recvfrom"].contains(call.name), call.arguments.count > 1 else { return false }
        switch call.arguments[1] {
        case .integer, .word("NULL"): return true
        default: return false
        }
    }

    private struct Transfer {
        var count = 0
        var flags: Int64 = 0
        var message: [ScriptField]?
    }

    private func transfer(_ call: ScriptCall) throws(ScriptStop) -> Transfer {
        var result = Transfer()
        switch call.name {
        case "readv", "writev": result.count = try vectorLength(try argument(call, 1))
        case "sendmsg", "recvmsg":
            guard case .structure(let fields) = try argument(call, 1) else { throw .unsupported(line, "this kind of message header") }
            result.message = fields
            if let vector = field(fields, "msg_iov") { result.count = try vectorLength(vector.value) }
            result.flags = try number(call, 2)
        default:
            result.count = Int(clamping: try number(call, 2))
            if call.arguments.count > 3 { result.flags = try number(call, 3) }
        }
        guard 0...(1 << 26) ~= result.count else { throw .unsupported(line, "a transfer of \(result.count) bytes") }
        return result
    }

    func send(_ call: ScriptCall, _ descriptor: ScriptDescriptor, _ socket: SocketID, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        let transfer = try transfer(call)
        if isBadBuffer(call), transfer.count > 0 { return .error(14) }
        let known: Int64 = 0x4000 | 0x8000 | 0x40 | 0x80 | 0x2000_0000 | 0x400_0000 | 1
        guard transfer.flags & ~known == 0 else { throw .unsupported(line, "the flags 0x\(String(transfer.flags & ~known, radix: 16)) of \(call.name)") }
        let stamping = try messageStamps(transfer.message)
        var flags: TransferFlags = []
        if transfer.flags & 0x8000 != 0 { flags.insert(.more) }
        if transfer.flags & 0x80 != 0 { flags.insert(.endOfRecord) }
        if transfer.flags & 1 != 0 { flags.insert(.outOfBand) }
        if transfer.flags & 0x400_0000 != 0 { flags.insert(.zeroCopy) }
        let waits = !descriptor.isNonblocking && transfer.flags & 0x40 == 0
        let zeros = [UInt8](repeating: 0, count: transfer.count - state.count)
        let opens = transfer.flags & 0x2000_0000 != 0 && state.count == 0 && !state.isConnecting
        do throws(Errno) {
            if state.isConnecting {
                // A blocking Fast Open waits for the handshake.
                switch connectOutcome(socket) {
                case .value: break
                case let other: return other
                }
                state.isConnecting = false
                if state.count >= transfer.count { return .value(Int64(state.count)) }
            }
            if opens || (state.count == 0 && host.stack.opensOnSend(socket)) {
                let address = SocketAddress(configuration.remote, configuration.connectPort)
                if current?.socket != socket { opening(socket, to: address) }
                do throws(Errno) {
                    state.count += try host.stack.sendOpening(socket, zeros[...], to: opens ? address : nil, flags: flags)
                    guard waits, host.stack.readiness(socket).isDisjoint(with: [.writable, .error, .hangup]) else { return .value(Int64(state.count)) }
                } catch {
                    guard error == .inProgress, waits else { throw error }
                }
                state.isConnecting = true
                state.lateError = .inProgress
                if state.count < transfer.count { host.stack.awaitOpening(socket, true) }
                return .blocked
            }
            if let stamping { host.stack.stampNextMessage(socket, stamping) }
            while true {
                let count = try host.stack.send(socket, [UInt8](repeating: 0, count: transfer.count - state.count)[...], flags: flags)
                state.count += count
                if state.count >= transfer.count || !waits { return .value(Int64(state.count)) }
            }
        } catch {
            guard error == .tryAgain else { return state.count > 0 ? .value(Int64(state.count)) : .error(error.rawValue) }
            // What waits for the handshake goes with its last ACK.
            if waits { host.stack.awaitOpening(socket, true) }
            if waits { return .blocked }
            return state.count > 0 ? .value(Int64(state.count)) : .error(error.rawValue)
        }
    }

    func receive(_ call: ScriptCall, _ descriptor: ScriptDescriptor, _ socket: SocketID, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        let transfer = try transfer(call)
        if isBadBuffer(call), transfer.count > 0, (try? host.stack.unreadBytes(socket)) ?? 0 > 0 { return .error(14) }
        if transfer.flags & 1 != 0 {
            return outcome { () throws(Errno) in try host.stack.receiveUrgent(socket, keeping: transfer.flags & 2 != 0) == nil ? 0 : 1 }
        }
        let known: Int64 = 0x4000 | 0x40 | 0x2 | 0x20 | 0x100
        if transfer.flags & 0x2000 != 0 {
            guard let error = host.stack.takeStreamError(socket) else { return .error(Errno.tryAgain.rawValue) }
            if let message = transfer.message { try checkErrorMessage(message, error, isCut: transfer.count < error.length) }
            return .value(Int64(min(transfer.count, error.length)))
        }
        guard transfer.flags & ~known == 0 else { throw .unsupported(line, "the flags 0x\(String(transfer.flags & ~known, radix: 16)) of \(call.name)") }
        var flags: TransferFlags = []
        if transfer.flags & 0x2 != 0 { flags.insert(.peek) }
        if transfer.flags & 0x20 != 0 { flags.insert(.truncate) }
        let waits = !descriptor.isNonblocking && transfer.flags & 0x40 == 0
        // read(2) of nothing is nothing; recv(2) of nothing waits for something (`sock_read_iter`).
        if transfer.count == 0, call.name == "read" || call.name == "readv" { return .value(0) }
        // How much must be there before it returns (`sock_rcvlowat`).
        let lowWater = (try? host.stack.option(socket, .receiveLowWater)) ?? 1
        let target = waits ? transfer.flags & 0x100 != 0 ? transfer.count : min(lowWater, transfer.count) : 0
        do throws(Errno) {
            while true {
                let unread = (try? host.stack.unreadBytes(socket)) ?? 0
                let isOver = !host.stack.readiness(socket).isDisjoint(with: [.readHangup, .hangup])
                // An error waits for the next call where this one has something to return.
                if state.count > 0, unread == 0 || state.count >= target {
                    if state.count >= target || isOver { break }
                    return .blocked
                }
                if flags.contains(.peek), unread > 0, unread < target, !isOver { return .blocked }
                let count = try host.stack.receive(socket, transfer.count - state.count, flags: flags)
                state.count += count
                if flags.contains(.peek) || count == 0 { break }
            }
        } catch {
            if error == .tryAgain, waits { return .blocked }
            if state.count == 0 { return .error(error.rawValue) }
        }
        if let message = transfer.message { try checkMessage(message, socket) }
        return .value(Int64(state.count))
    }

    /// Control data of sendmsg(2): SO_TIMESTAMPING says which times of this message are wanted.
    private func messageStamps(_ message: [ScriptField]?) throws(ScriptStop) -> UInt32? {
        guard let control = message.flatMap({ field($0, "msg_control") }), control.value != .ellipsis, control.value != .list([]) else { return nil }
        guard case .list(let items) = control.value else { throw .unsupported(line, "this kind of control data") }
        var result: UInt32?
        for item in items {
            guard case .structure(let fields) = item, let level = field(fields, "cmsg_level"), let type = field(fields, "cmsg_type"),
                let data = field(fields, "cmsg_data"), try integer(level.value) == 1, try integer(type.value) == 37
            else { throw .unsupported(line, "control data of sendmsg other than SO_TIMESTAMPING") }
            result = UInt32(truncatingIfNeeded: try integer(data.value))
        }
        return result
    }

    /// What recvmsg put into the header beside the bytes.
    private func checkMessage(_ message: [ScriptField], _ socket: SocketID) throws(ScriptStop) {
        if let flags = field(message, "msg_flags"), flags.value != .ellipsis {
            let wanted = try integer(flags.value)
            guard wanted == 0 else { throw .failed(line: line, "another msg_flags", expected: "msg_flags=\(wanted)", actual: "msg_flags=0") }
        }
        let reports = (try? host.stack.option(socket, .reportsUnread)) == 1
        guard let control = field(message, "msg_control"), control.value != .ellipsis else { return }
        guard case .list(let items) = control.value else { throw .unsupported(line, "this kind of control data") }
        for item in items {
            guard case .structure(let fields) = item, let level = field(fields, "cmsg_level"), let type = field(fields, "cmsg_type"),
                let data = field(fields, "cmsg_data")
            else { throw .unsupported(line, "this kind of control data") }
            guard try integer(level.value) == 6, try integer(type.value) == 36 else { throw .unsupported(line, "control data other than TCP_CM_INQ") }
            let wanted = try integer(data.value)
            guard reports else { throw .failed(line: line, "no control data", expected: "TCP_CM_INQ \(wanted)", actual: "nothing") }
            let actual = Int64((try? host.stack.unreadBytes(socket, countingEnd: true)) ?? 0)
            if actual != wanted { throw .failed(line: line, "another TCP_CM_INQ", expected: "cmsg_data=\(wanted)", actual: "cmsg_data=\(actual)") }
        }
        if items.isEmpty, reports { throw .failed(line: line, "control data", expected: "none", actual: "TCP_CM_INQ") }
    }

    /// An entry of the error queue: its flags, and control messages that tell about it: what happened, and when if that is what was asked for.
    private func checkErrorMessage(_ message: [ScriptField], _ error: StreamError, isCut: Bool) throws(ScriptStop) {
        if let flags = field(message, "msg_flags"), flags.value != .ellipsis {
            let wanted = try integer(flags.value)
            let actual = (ScriptSymbols.values["MSG_ERRQUEUE"] ?? 0) | (isCut ? ScriptSymbols.values["MSG_TRUNC"] ?? 0 : 0)
            guard wanted == actual else {
                throw .failed(line: line, "another msg_flags", expected: "msg_flags=\(wanted)", actual: "msg_flags=MSG_ERRQUEUE\(isCut ? "|MSG_TRUNC" : "")")
            }
        }
        guard let control = field(message, "msg_control"), control.value != .ellipsis else { return }
        guard case .list(let items) = control.value else { throw .unsupported(line, "this kind of control data") }
        let count = 1 + (error.at == nil ? 0 : 1) + (error.statistics.isEmpty ? 0 : 1)
        guard items.count == count else { throw .failed(line: line, "control data", expected: "\(items.count) messages", actual: "\(count)") }
        for item in items {
            guard case .structure(let fields) = item, let level = field(fields, "cmsg_level"), let type = field(fields, "cmsg_type"),
                let data = field(fields, "cmsg_data")
            else { throw .unsupported(line, "this kind of control data") }
            if case .list(let wanted) = data.value, try integer(level.value) == 1, try integer(type.value) == 54 {
                try checkStatistics(wanted, error.statistics)
                continue
            }
            guard case .structure(let values) = data.value else { throw .unsupported(line, "this kind of control data") }
            switch (try integer(level.value), try integer(type.value)) {
            case (0, 11): try checkExtendedError(values, error)
            case (1, 37):
                guard let at = error.at else { throw .failed(line: line, "no timestamp", expected: "SCM_TIMESTAMPING", actual: "nothing") }
                try checkStamp(values, at)
            default: throw .unsupported(line, "control data other than IP_RECVERR and SCM_TIMESTAMPING")
            }
        }
    }

    private func checkExtendedError(_ values: [ScriptField], _ error: StreamError) throws(ScriptStop) {
        let actual: [(String, Int64)] = [
            ("ee_errno", Int64(error.errno)), ("ee_origin", Int64(error.origin)), ("ee_type", Int64(error.type)), ("ee_code", Int64(error.code)),
            ("ee_info", Int64(error.information)), ("ee_data", Int64(error.data)),
        ]
        for (name, value) in actual {
            guard let wanted = field(values, name), wanted.value != .ellipsis else { continue }
            let number = try integer(wanted.value)
            if number != value { throw .failed(line: line, "another error of the queue", expected: "\(name)=\(number)", actual: "\(name)=\(value)") }
        }
    }

    /// `[TCP_NLA_BUSY=1000, …]`: those that are named have these values; times may differ by the tolerance, but zero is zero.
    private func checkStatistics(_ wanted: [ScriptExpression], _ actual: [StreamError.Statistic]) throws(ScriptStop) {
        for item in wanted {
            guard case .structure(let fields) = item, let first = fields.first, let name = first.name else { throw .unsupported(line, "this kind of control data") }
            let type = try integer(.word(name))
            guard let found = actual.first(where: { $0.type == type }) else {
                throw .failed(line: line, "no such statistic", expected: name, actual: "nothing")
            }
            if first.value == .ellipsis { continue }
            let value = try integer(first.value)
            let isTime = 1...3 ~= type && value != 0
            guard isTime ? abs(value - Int64(found.value)) * 1000 <= tolerance(gap: value * 1000) : value == Int64(found.value) else {
                throw .failed(line: line, "another statistic", expected: "\(name)=\(value)", actual: "\(name)=\(found.value)")
            }
        }
    }

    /// Times are counted from the start of the script.
    private func checkStamp(_ values: [ScriptField], _ at: Instant) throws(ScriptStop) {
        guard let seconds = field(values, "scm_sec"), let rest = field(values, "scm_nsec"), seconds.value != .ellipsis, rest.value != .ellipsis else { return }
        let wanted = try integer(seconds.value) * 1_000_000_000 + integer(rest.value)
        let deviation = abs((at - zero).nanoseconds - wanted)
        worstTiming = max(worstTiming, deviation)
        if deviation > tolerance(gap: wanted) { ignoredTiming = true }
    }

    func ioctl(_ call: ScriptCall, _ socket: SocketID) throws(ScriptStop) -> CallOutcome {
        let request = try number(call, 1)
        guard [0x541b, 0x5411, 0x894b, 0x8905].contains(request) else { throw .unsupported(line, "this ioctl") }
        let actual: Int
        do throws(Errno) {
            actual = try request == 0x8905 ? (host.stack.isAtMark(socket) ? 1 : 0) : request == 0x541b ? host.stack.unreadBytes(socket) : host.stack.waitingBytes(socket, unsentOnly: request == 0x894b)
        } catch {
            return .error(error.rawValue)
        }
        if call.arguments.count > 2, call.arguments[2] != .ellipsis {
            let wanted = try number(call, 2)
            if wanted != Int64(actual) { throw .failed(line: line, "another value of ioctl", expected: "[\(wanted)]", actual: "[\(actual)]") }
        }
        return .value(0)
    }

    // MARK: options

    /// An option that no header of the kernel names, written as a number.
    private func isNamelessOption(_ call: ScriptCall) -> Bool {
        guard call.arguments.count > 2, case .integer(let number) = call.arguments[2] else { return false }
        if case .integer(let level) = call.arguments[1] {
            if ![0, 1, 6, 41].contains(level) { return true }
            if KeptOption.all[KeptOption.Place(level: level, name: number)] != nil { return false }
        }
        return !ScriptSymbols.values.contains { $0.value == number && ($0.key.hasPrefix("SO_") || $0.key.hasPrefix("TCP_") || $0.key.hasPrefix("IP")) }
    }

    static func optionName(_ level: Int64, _ name: Int64) -> SocketOptionName? {
        switch (level, name) {
        case (1, 2): .reuseAddress
        case (1, 3): .type
        case (1, 4): .error
        case (1, 7): .sendBuffer
        case (1, 8): .receiveBuffer
        case (1, 9): .keepAlive
        case (1, 30): .acceptsConnections
        case (1, 38): .proto
        case (1, 37): .timestamping
        case (1, 60): .zeroCopy
        case (1, 47): .maximumPacingRate
        case (1, 10): .urgentInline
        case (1, 18): .receiveLowWater
        case (6, 1): .noDelay
        case (6, 2): .maximumSegment
        case (6, 3): .cork
        case (6, 4): .keepIdle
        case (6, 5): .keepInterval
        case (6, 6): .keepCount
        case (6, 7): .synCount
        case (6, 8): .linger2
        case (6, 9): .deferAccept
        case (6, 10): .windowClamp
        case (6, 12): .quickAck
        case (6, 18): .userTimeout
        case (6, 23): .fastOpen
        case (6, 25): .notSentLowWater
        case (6, 30): .fastOpenConnect
        case (6, 34): .fastOpenNoCookie
        case (6, 36): .reportsUnread
        case (1, 32): .sendBufferForce
        case (1, 33): .receiveBufferForce
        case (1, 39): .domain
        case (1, 42): .peekOffset
        case (1, 72): .bufferLock
        case (6, 16): .thinLinearTimeouts
        case (6, 27): .saveSYN
        case (6, 44): .maximumTimeout
        case (6, 45): .minimumTimeout
        case (6, 46): .maximumAckDelay
        case (0, 1): .typeOfService
        case (0, 2): .timeToLive
        case (0, 10): .pathMTUDiscovery
        case (0, 15): .freeBind
        case (0, 19): .transparent
        case (0, 21): .minimumTimeToLive
        case (0, 24): .bindAddressNoPort
        case (0, 51): .localPortRange
        case (0, 11): .receiveErrors
        default: nil
        }
    }

    /// Options whose value is a structure of two words, or a long where there is room for one.
    private static func isLong(_ option: SocketOptionName) -> Bool { option == .maximumPacingRate || option == .timestamping }

    private func optionText(_ call: ScriptCall) -> String {
        func text(_ index: Int) -> String { if case .word(let word) = call.arguments[index] { word } else { "a number" } }
        return call.arguments.count > 2 ? "the socket option \(text(1)) \(text(2))" : "a socket option"
    }

    /// Modules of Linux that are not modelled; other names are none there either, and refused.
    private static let foreignAlgorithms: Set<String> = [
        "bic", "cdg", "dctcp-reno", "highspeed", "htcp", "hybla", "illinois", "lp", "nv", "scalable", "vegas", "veno", "westwood", "yeah",
    ]

    func setOption(_ call: ScriptCall, _ socket: SocketID) throws(ScriptStop) -> CallOutcome {
        let level = try number(call, 1)
        let name = try number(call, 2)
        let value = try argument(call, 3)
        // Options of sockets and of TCP want a whole int, SO_LINGER two, a time as much as four.
        let leastLength: Int64 = [level, name] == [1, 13] ? 8 : ScriptRun.isPatience(level, name) ? 16 : 4
        if call.arguments.count > 4, level == 1 || level == 6, [level, name] != [6, 13], [level, name] != [6, 33], try number(call, 4) < leastLength {
            return .error(Errno.invalid.rawValue)
        }
        if [level, name] == [1, 13] {
            guard case .structure(let fields) = value, let onoff = field(fields, "onoff") ?? field(fields, "l_onoff"),
                let linger = field(fields, "linger") ?? field(fields, "l_linger")
            else { throw .unsupported(line, "this value of SO_LINGER") }
            let seconds = try integer(onoff.value) != 0 ? Int(try integer(linger.value)) : nil
            return outcome { () throws(Errno) in
                try host.stack.setOption(socket, .linger(seconds: seconds))
                return 0
            }
        }
        if ScriptRun.isPatience(level, name) { return try setPatience(socket, name, value) }
        if [level, name] == [6, 19], try integer(value) != 0 { throw .unsupported(line, "TCP_REPAIR other than off") }
        if [level, name] == [6, 13] {
            guard case .string(let algorithm) = value else { throw .unsupported(line, "this value of TCP_CONGESTION") }
            if ScriptRun.foreignAlgorithms.contains(algorithm) { throw .unsupported(line, "the congestion control \(algorithm)") }
            return outcome { () throws(Errno) in
                try host.stack.setCongestionControl(socket, algorithm)
                return 0
            }
        }
        if [level, name] == [6, 33] {
            guard case .string(let text) = value, let bytes = ScriptRun.bytes(text) else { throw .unsupported(line, "this value of TCP_FASTOPEN_KEY") }
            let length = call.arguments.count > 4 ? Int(clamping: try number(call, 4)) : bytes.count
            return outcome { () throws(Errno) in
                try host.stack.setFastOpenKey(socket, Array(bytes.prefix(max(0, length))))
                return 0
            }
        }
        if isNamelessOption(call), ScriptRun.optionName(level, name) == nil { return .error(Errno.noProtocolOption.rawValue) }
        if let option = KeptOption.all[KeptOption.Place(level: level, name: name)] {
            let number = Int32(truncatingIfNeeded: try integer(value))
            do throws(Errno) {
                inertValues[[Int64(socket.rawValue), level, name]] = try option.taken(number)
            } catch {
                return .error(error.rawValue)
            }
            return .value(0)
        }
        if [level, name] == [0, 14] { return .error(Errno.noProtocolOption.rawValue) }
        guard let option = ScriptRun.optionName(level, name) else { throw .unsupported(line, optionText(call)) }
        let number = try integer(value)
        return outcome { () throws(Errno) in
            try host.stack.setOption(socket, option, Int(clamping: number))
            return 0
        }
    }

    /// A string with C's escapes, as bytes; nil if an escape is not known.
    static func bytes(_ text: String) -> [UInt8]? {
        var result: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let c = rest.popFirst() {
            guard c == UInt8(ascii: "\\") else {
                result.append(c)
                continue
            }
            switch rest.popFirst() {
            case UInt8(ascii: "x"):
                let digits = rest.prefix(2)
                guard digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) else { return nil }
                result.append(value)
                rest = rest.dropFirst(2)
            case UInt8(ascii: "0"): result.append(0)
            case UInt8(ascii: "n"): result.append(10)
            case UInt8(ascii: "\\"): result.append(UInt8(ascii: "\\"))
            default: return nil
            }
        }
        return result
    }

    func getOption(_ call: ScriptCall, _ socket: SocketID) throws(ScriptStop) -> CallOutcome {
        let level = try number(call, 1)
        let name = try number(call, 2)
        let value = try argument(call, 3)
        func differs(_ expected: String, _ actual: String) -> ScriptStop {
            .failed(line: line, "another value of getsockopt", expected: "[\(expected)]", actual: "[\(actual)]")
        }
        if [level, name] == [6, 13] {
            try checkLength(call, natural: 16)
            let actual = host.stack.congestionControl(socket) ?? ""
            if case .string(let wanted) = value, wanted != actual { throw differs(wanted, actual) }
            return .value(0)
        }
        if [level, name] == [1, 13] {
            guard case .structure(let fields) = value, let onoff = field(fields, "onoff") ?? field(fields, "l_onoff"),
                let linger = field(fields, "linger") ?? field(fields, "l_linger")
            else { throw .unsupported(line, "this value of SO_LINGER") }
            let actual = host.stack.linger(socket)
            let wanted = (try integer(onoff.value), try integer(linger.value))
            if wanted.0 != (actual == nil ? 0 : 1) || (actual != nil && wanted.1 != Int64(actual!)) {
                throw differs("\(wanted)", actual.map { "on, \($0) s" } ?? "off")
            }
            return .value(0)
        }
        if ScriptRun.isPatience(level, name) {
            try checkLength(call, natural: 16)
            return try comparePatience(socket, name, value)
        }
        if [level, name] == [6, 28] {
            let bytes: [UInt8]
            let room = Int(clamping: try number(call, 4))
            do throws(Errno) { bytes = try host.stack.takeSavedSYN(socket, room: room) } catch { return .error(error.rawValue) }
            try checkLength(call, natural: Int64(bytes.count))
            if case .string(let text) = value, ScriptRun.bytes(text) != bytes { throw differs(text, bytes.map { String($0, radix: 16) }.joined(separator: " ")) }
            return .value(0)
        }
        if [level, name] == [6, 11] { return try compareInformation(socket, value) }
        if [level, name] == [6, 33] {
            guard case .string(let text) = value, let wanted = ScriptRun.bytes(text) else { throw .unsupported(line, "this value of TCP_FASTOPEN_KEY") }
            let actual = host.stack.fastOpenKey(socket)
            if Array(wanted.prefix(16)) != actual { throw differs(text, actual.map { String($0, radix: 16) }.joined(separator: " ")) }
            return .value(0)
        }
        let actual: Int
        if isNamelessOption(call), ScriptRun.optionName(level, name) == nil { return .error(Errno.noProtocolOption.rawValue) }
        if let option = KeptOption.all[KeptOption.Place(level: level, name: name)] {
            guard let standard = option.standard else { return .error(option.refusal) }
            let actual = inertValues[[Int64(socket.rawValue), level, name]] ?? standard
            try checkLength(call, natural: 4, value: actual)
            if value != .ellipsis, try integer(value) != actual { throw differs("\(try integer(value))", "\(actual)") }
            return .value(0)
        }
        if [level, name] == [0, 14] {
            // IP_MTU: of the route of a connection.
            guard let mtu = host.stack.routeMTU(socket) else { return .error(Errno.notConnected.rawValue) }
            try checkLength(call, natural: 4, value: Int64(mtu))
            if value != .ellipsis, try integer(value) != Int64(mtu) { throw differs("\(try integer(value))", "\(mtu)") }
            return .value(0)
        }
        guard let option = ScriptRun.optionName(level, name) else { throw .unsupported(line, optionText(call)) }
        do throws(Errno) { actual = try host.stack.option(socket, option) } catch { return .error(error.rawValue) }
        try checkLength(call, natural: ScriptRun.isLong(option) ? 8 : 4, value: Int64(actual))
        if value != .ellipsis {
            let wanted = try integer(value)
            if wanted != Int64(actual) { throw differs("\(wanted)", "\(actual)") }
        }
        return .value(0)
    }
}
