import HairpinEngine
import HairpinTransport
import HairpinWire

/// arping(8) of iputils: asks, or with -U and -A tells, over a packet socket.
final class ARPing: Program {
    private let options: Options
    private var isStarted = false
    private var target = IPv4Address.any, source = IPv4Address.any
    private var device = "", mac = MACAddress.zero
    private var destination = MACAddress.broadcast
    private var count: Int?, endAt: Instant?
    private var nextSend = Instant.zero
    private var sent = 0, broadcasts = 0, received = 0, requestsSeen = 0

    init(_ arguments: [String]) { options = Options(arguments, flags: "qUADfb0V", values: "cwIsi") }

    private var isUnsolicited: Bool { options.has("U") || options.has("A") }

    func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            if let status = configure(system) { return .exit(status) }
        }
        while true {
            for frame in system.receivedARP(device: device) { note(frame, system) }
            if options.has("f"), received > 0 { return finish(system) }
            if let count, !isUnsolicited, received >= count { return finish(system) }
            if let endAt, system.now >= endAt { return finish(system) }
            if system.now >= nextSend {
                // With -w alone, requests go on until the deadline; -c bounds them, and the last one is given a second.
                if let count, sent >= count { return finish(system) }
                do throws(Errno) {
                    try system.transmit(frame(), device: device)
                } catch {
                    system.writeError("arping: \(error)\n")
                    return .exit(2)
                }
                sent += 1
                if destination.isBroadcast { broadcasts += 1 }
                nextSend = system.now + .seconds(1)
                continue
            }
            return .wait(WaitSet(deadline: min(nextSend, endAt ?? .distantFuture, isUnsolicited ? .distantFuture : system.now + .milliseconds(1))))
        }
    }

    private func configure(_ system: any SystemCalls) -> Int32? {
        guard let name = options.operands.first else {
            system.writeError("Usage: arping [-fqbDUAV] [-c count] [-w timeout] [-I device] [-s source] destination\n")
            return 2
        }
        guard let address = IPv4Address(name) ?? HostsFile.addresses(of: name, system).first else {
            system.writeError("arping: \(name): Name or service not known\n")
            return 2
        }
        target = address
        let interfaces = system.interfaces()
        let candidate =
            options["I"].map { wanted in interfaces.first { $0.name == wanted } } ?? interfaces.first { $0.isUp && $0.kind != "loopback" && !$0.addresses.isEmpty }
        guard let interface = candidate else {
            system.writeError(options["I"].map { "arping: Interface \"\($0)\" is not available\n" } ?? "arping: no suitable device found\n")
            return 2
        }
        guard interface.isUp else {
            system.writeError("arping: Interface \"\(interface.name)\" is down\n")
            return 2
        }
        guard interface.kind != "loopback" else {
            system.writeError("Interface \"\(interface.name)\" is not ARPable\n")
            return 2
        }
        device = interface.name
        mac = interface.mac
        if let text = options["s"] {
            guard let parsed = IPv4Address(text) else {
                system.writeError("arping: invalid source \(text)\n")
                return 2
            }
            source = parsed
        } else if isUnsolicited {
            source = target
        } else if !options.has("D") {
            source = interface.addresses.first { $0.prefix.contains(target) }?.address ?? interface.addresses.first?.address ?? .any
        }
        for option in ["c", "w"] {
            guard let text = options[option], Int(text).map({ $0 > 0 }) != true else { continue }
            system.writeError("arping: invalid argument: '\(text)'\n")
            return 1
        }
        count = options["c"].flatMap { Int($0) }
        endAt = options["w"].flatMap(parseDuration).map { system.now + $0 }
        nextSend = system.now
        _ = system.receivedARP(device: device)
        if !options.has("q") { system.writeOutput("ARPING \(target) from \(source) \(device)\n") }
        return nil
    }

    private func frame() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: EthernetHeader.byteCount + ARPHeader.byteCount)
        // An unsolicited answer names its own sender as target; everything else asks the broadcast address.
        let header = ARPHeader(
            operation: options.has("A") ? .reply : .request, senderHardware: mac, senderProtocol: source,
            targetHardware: options.has("A") ? mac : destination, targetProtocol: target)
        bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            EthernetHeader(destination: destination, source: mac, type: .arp).emit(to: base)
            header.emit(to: base + EthernetHeader.byteCount)
        }
        return bytes
    }

    private func note(_ frame: [UInt8], _ system: any SystemCalls) {
        let parsed = frame.withUnsafeBytes { bytes -> ARPHeader? in
            bytes.count >= EthernetHeader.byteCount + ARPHeader.byteCount ? ARPHeader(parsing: UnsafeRawBufferPointer(rebasing: bytes[EthernetHeader.byteCount...])) : nil
        }
        guard let parsed, parsed.operation == .reply, parsed.senderProtocol == target, parsed.targetProtocol == source || options.has("D") else { return }
        received += 1
        if !options.has("q") {
            let elapsed = (system.now - (nextSend - .seconds(1))).nanoseconds / 1000
            system.writeOutput(
                "Unicast reply from \(parsed.senderProtocol) [\(parsed.senderHardware.description.uppercased())]  \(fixedPoint(UInt64(max(0, elapsed)), 3))ms\n")
        }
        if !options.has("b") { destination = parsed.senderHardware }
    }

    private func finish(_ system: any SystemCalls) -> Suspension {
        if !options.has("q") { system.writeOutput("Sent \(sent) probes (\(broadcasts) broadcast(s))\nReceived \(received) response(s)\n") }
        if options.has("D") { return .exit(received > 0 ? 1 : 0) }
        return .exit(isUnsolicited || received > 0 ? 0 : 1)
    }
}
