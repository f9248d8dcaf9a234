import HairpinEngine
import HairpinWire

/// A TCP segment on the wire, in the script's terms but with real numbers.
struct WireSegment {
    var at: Instant
    var source: SocketPair
    var flags: ScriptFlags
    var sequence: UInt32
    var acknowledgment: UInt32
    var window: UInt16
    var urgent: UInt16
    var length: Int
    var isPayloadZero: Bool
    var options: [ScriptTCPOption]
    var typeOfService: UInt8
    var timeToLive: UInt8
    var isChecksumValid: Bool

    /// Addresses and ports as the sender sees them.
    struct SocketPair: Hashable {
        var sourceAddress: IPv4Address
        var sourcePort: UInt16
        var destinationAddress: IPv4Address
        var destinationPort: UInt16
        var reversed: SocketPair {
            SocketPair(sourceAddress: destinationAddress, sourcePort: destinationPort, destinationAddress: sourceAddress, destinationPort: sourcePort)
        }
    }

    /// Nil for anything but a whole TCP segment in IPv4.
    init?(_ packet: UnsafeRawBufferPointer, at: Instant) {
        guard let ip = IPv4View(packet), ip.proto == .tcp, let tcp = TCPView(ip.payload) else { return nil }
        self.at = at
        source = SocketPair(sourceAddress: ip.source, sourcePort: tcp.sourcePort, destinationAddress: ip.destination, destinationPort: tcp.destinationPort)
        flags = ScriptFlags(rawValue: UInt16(tcp.flags.rawValue) | UInt16(tcp.bytes[TCPOffset.dataOffset] & 1) << 8)
        sequence = tcp.sequence.rawValue
        acknowledgment = tcp.acknowledgment.rawValue
        window = tcp.window
        urgent = tcp.urgentPointer
        length = tcp.payload.count
        isPayloadZero = tcp.payload.allSatisfy { $0 == 0 }
        options = WireSegment.options(tcp.options)
        typeOfService = ip.typeOfService
        timeToLive = ip.timeToLive
        isChecksumValid = ip.isChecksumValid && tcp.isChecksumValid(source: ip.source, destination: ip.destination)
    }

    // MARK: options

    /// RFC 7413 §4.1.1, and the experimental kind with its magic number (RFC 6994).
    private static let fastOpenKind: UInt8 = 34
    private static let experimentKind: UInt8 = 254
    private static let fastOpenMagic: [UInt8] = [0xf9, 0x89]
    private static let md5Kind: UInt8 = 19

    private static func options(_ bytes: UnsafeRawBufferPointer) -> [ScriptTCPOption] {
        var options: [ScriptTCPOption] = []
        var at = 0
        while at < bytes.count, let base = bytes.baseAddress {
            switch bytes[at] {
            case TCPOptionKind.endOfList:
                options.append(.endOfList)
                return options
            case TCPOptionKind.noOperation:
                options.append(.noOperation)
                at += 1
                continue
            default: break
            }
            guard at + 1 < bytes.count else { return options }
            let size = Int(bytes[at + 1])
            guard size >= 2, at + size <= bytes.count else { return options }
            let body = Array(bytes[(at + 2)..<(at + size)])
            switch (bytes[at], size) {
            case (TCPOptionKind.maximumSegmentSize, 4): options.append(.maximumSegment(base.u16(at + 2)))
            case (TCPOptionKind.windowScale, 3): options.append(.windowScale(body[0]))
            case (TCPOptionKind.sackPermitted, 2): options.append(.selectiveAcksPermitted)
            case (TCPOptionKind.timestamps, 10): options.append(.timestamps(value: base.u32(at + 2), echo: base.u32(at + 6)))
            case (TCPOptionKind.sack, _):
                options.append(.selectiveAcks((0..<(size - 2) / 8).map { ScriptRange(start: base.u32(at + 2 + 8 * $0), end: base.u32(at + 6 + 8 * $0)) }))
            case (fastOpenKind, _): options.append(.fastOpen(body))
            case (experimentKind, 4...) where Array(body.prefix(2)) == fastOpenMagic: options.append(.fastOpenExperiment(Array(body.dropFirst(2))))
            case (md5Kind, _): options.append(.md5(body))
            default: options.append(.accurateECN("kind \(bytes[at])"))
            }
            at += size
        }
        return options
    }

    /// The options as bytes; nil if they do not fill whole words or there are too many.
    static func encode(_ options: [ScriptTCPOption]) -> [UInt8]? {
        var bytes: [UInt8] = []
        func put32(_ value: UInt32) { for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(shift))) } }
        for option in options {
            switch option {
            case .maximumSegment(let size): bytes += [2, 4, UInt8(size >> 8), UInt8(truncatingIfNeeded: size)]
            case .windowScale(let shift): bytes += [3, 3, shift]
            case .selectiveAcksPermitted: bytes += [4, 2]
            case .selectiveAcks(let blocks):
                bytes += [5, UInt8(truncatingIfNeeded: 2 + 8 * blocks.count)]
                for block in blocks {
                    put32(block.start)
                    put32(block.end)
                }
            case .timestamps(let value, let echo):
                bytes += [8, 10]
                put32(value)
                put32(echo)
            case .noOperation: bytes.append(1)
            case .endOfList: bytes.append(0)
            case .fastOpen(let cookie): bytes += [fastOpenKind, UInt8(2 + cookie.count)] + cookie
            case .fastOpenExperiment(let cookie): bytes += [experimentKind, UInt8(4 + cookie.count)] + fastOpenMagic + cookie
            case .md5(let digest): bytes += [md5Kind, UInt8(2 + digest.count)] + digest
            case .accurateECN: return nil
            }
        }
        return bytes.count % 4 == 0 && bytes.count <= 40 ? bytes : nil
    }
}

/// Whole IPv4 packets with right checksums, as the remote side of a script sends them.
enum WirePacket {
    static func tcp(
        _ pair: WireSegment.SocketPair, flags: ScriptFlags, sequence: UInt32, acknowledgment: UInt32, window: UInt16, urgent: UInt16, options: [UInt8], length: Int,
        typeOfService: UInt8, timeToLive: UInt8
    ) -> [UInt8] {
        let header = 20 + options.count
        var bytes = [UInt8](repeating: 0, count: IPv4Header.byteCount + header + length)
        bytes.withUnsafeMutableBytes { buffer in
            guard let ip = buffer.baseAddress else { return }
            let p = ip + IPv4Header.byteCount
            p.put(pair.sourcePort, at: TCPOffset.sourcePort)
            p.put(pair.destinationPort, at: TCPOffset.destinationPort)
            p.put(sequence, at: TCPOffset.sequence)
            p.put(acknowledgment, at: TCPOffset.acknowledgment)
            p.put(UInt8((header / 4) << 4) | UInt8(flags.rawValue >> 8 & 1), at: TCPOffset.dataOffset)
            p.put(UInt8(truncatingIfNeeded: flags.rawValue), at: TCPOffset.flags)
            p.put(window, at: TCPOffset.window)
            p.put(urgent, at: TCPOffset.urgentPointer)
            for (i, byte) in options.enumerated() { p.put(byte, at: TCPOffset.options + i) }
            let pseudo = InternetChecksum.pseudoHeader(
                source: pair.sourceAddress, destination: pair.destinationAddress, protocol: IPProtocol.tcp.rawValue, length: header + length)
            p.put(InternetChecksum.checksum(UnsafeRawBufferPointer(start: p, count: header + length), initial: pseudo), at: TCPOffset.checksum)
            emitIP(pair, .tcp, total: buffer.count, typeOfService: typeOfService, timeToLive: timeToLive, to: ip)
        }
        return bytes
    }

    static func udp(_ pair: WireSegment.SocketPair, length: Int, typeOfService: UInt8, timeToLive: UInt8) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: IPv4Header.byteCount + 8 + length)
        bytes.withUnsafeMutableBytes { buffer in
            guard let ip = buffer.baseAddress else { return }
            let p = ip + IPv4Header.byteCount
            p.put(pair.sourcePort, at: UDPOffset.sourcePort)
            p.put(pair.destinationPort, at: UDPOffset.destinationPort)
            p.put(UInt16(8 + length), at: UDPOffset.length)
            let pseudo = InternetChecksum.pseudoHeader(
                source: pair.sourceAddress, destination: pair.destinationAddress, protocol: IPProtocol.udp.rawValue, length: 8 + length)
            let sum = InternetChecksum.checksum(UnsafeRawBufferPointer(start: p, count: 8 + length), initial: pseudo)
            p.put(sum == 0 ? 0xffff : sum, at: UDPOffset.checksum)
            emitIP(pair, .udp, total: buffer.count, typeOfService: typeOfService, timeToLive: timeToLive, to: ip)
        }
        return bytes
    }

    private static func emitIP(
        _ pair: WireSegment.SocketPair, _ proto: IPProtocol, total: Int, typeOfService: UInt8, timeToLive: UInt8, to ip: UnsafeMutableRawPointer
    ) {
        var header = IPv4Header(source: pair.sourceAddress, destination: pair.destinationAddress, proto: proto, totalLength: total)
        header.typeOfService = typeOfService
        header.timeToLive = timeToLive
        header.emit(to: ip)
    }
}
