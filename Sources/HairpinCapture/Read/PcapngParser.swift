import HairpinDatapath
import HairpinEngine
import HairpinWire

extension CaptureReader {
    /// Blocks this reader does not know are skipped, as the format asks. Several sections become one list of interfaces.
    static func parsePcapng(_ bytes: [UInt8], name: String) throws(CaptureError) -> CaptureFile {
        var file = CaptureFile(format: .pcapng)
        var input = CaptureBytes(bytes[...])
        var at = 0
        /// Where the present section's interfaces begin.
        var first = 0
        while at < input.count {
            guard at + 12 <= input.count else {
                file.isTruncated = true
                break
            }
            let isSection = input.u32(at) == Pcapng.sectionHeader
            if isSection {
                input.isBigEndian = false
                if input.u32(at + 8) == Pcapng.byteOrderMagic.byteSwapped { input.isBigEndian = true }
                guard input.u32(at + 8) == Pcapng.byteOrderMagic else { throw .malformed(file: name, offset: at + 8, reason: "a section without byte order magic") }
            }
            let length = Int(input.u32(at + 4))
            guard length >= (isSection ? 28 : 12), length % 4 == 0 else { throw .malformed(file: name, offset: at + 4, reason: "a block of \(length) bytes") }
            guard at + length <= input.count else {
                file.isTruncated = true
                break
            }
            let type = input.u32(at)
            var body = CaptureBytes(input.slice(at + 8..<at + length - 4))
            body.isBigEndian = input.isBigEndian
            switch type {
            case Pcapng.sectionHeader:
                first = file.interfaces.count
                for (code, value) in options(of: body, at: 16) {
                    if code == Pcapng.application { file.application = text(value) }
                    if code == Pcapng.comment { file.comment = text(value) }
                }
            case Pcapng.interfaceDescription:
                guard body.count >= 8 else { throw .malformed(file: name, offset: at, reason: "an interface description without its fixed part") }
                file.interfaces.append(interface(body))
            case Pcapng.enhancedPacket, Pcapng.packet, Pcapng.simplePacket:
                guard let packet = packet(type, body, file.interfaces[first...]) else {
                    throw .malformed(file: name, offset: at, reason: "a packet whose length or interface does not exist")
                }
                file.packets.append(packet)
            case Pcapng.nameResolution: file.names += names(body)
            case Pcapng.interfaceStatistics:
                guard body.count >= 12, first + Int(body.u32(0)) < file.interfaces.count else { break }
                for (code, value) in options(of: body, at: 12) where value.count == 8 {
                    var number = CaptureBytes(value)
                    number.isBigEndian = body.isBigEndian
                    if code == Pcapng.received { file.interfaces[first + Int(body.u32(0))].received = number.u64(0) }
                    if code == Pcapng.dropped { file.interfaces[first + Int(body.u32(0))].dropped = number.u64(0) }
                }
            default: break
            }
            at += length
        }
        return file
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

    /// The options from `start` to the end of the block; one that does not fit ends them.
    private static func options(of body: CaptureBytes, at start: Int) -> [(code: UInt16, value: ArraySlice<UInt8>)] {
        var result: [(code: UInt16, value: ArraySlice<UInt8>)] = []
        var at = start
        while at + 4 <= body.count {
            let code = body.u16(at)
            let length = Int(body.u16(at + 2))
            guard code != 0, at + 4 + length <= body.count else { break }
            result.append((code, body.slice(at + 4..<at + 4 + length)))
            at += 4 + (length + 3) & ~3
        }
        return result
    }

    private static func interface(_ body: CaptureBytes) -> CapturedInterface {
        var interface = CapturedInterface()
        interface.linkType = UInt32(body.u16(0))
        for (code, value) in options(of: body, at: 8) {
            var number = CaptureBytes(value)
            number.isBigEndian = body.isBigEndian
            var network = CaptureBytes(value)
            network.isBigEndian = true
            switch (code, value.count) {
            case (Pcapng.interfaceName, _): interface.name = text(value)
            case (Pcapng.interfaceText, _): interface.text = text(value)
            case (Pcapng.interfaceIPv4, 8):
                let length = (~network.u32(4)).leadingZeroBitCount
                interface.addresses.append(IPv4InterfaceAddress(IPv4Address(rawValue: network.u32(0)), prefixLength: length))
            case (Pcapng.interfaceMAC, 6): interface.mac = MACAddress(rawValue: UInt64(network.u16(0)) << 32 | UInt64(network.u32(2)))
            case (Pcapng.interfaceSpeed, 8): interface.speed = number.u64(0)
            case (Pcapng.timeResolution, 1):
                let resolution = value[value.startIndex]
                (interface.timeBase, interface.timeExponent) = (resolution & 0x80 == 0 ? 10 : 2, Int(resolution & 0x7f))
            case (Pcapng.timeOffset, 8): interface.timeOffset = Int64(bitPattern: number.u64(0))
            case (Pcapng.interfaceFilter, 1...): interface.filter = text(value.dropFirst())
            default: break
            }
        }
        return interface
    }

    /// Nil if the block is not what its type needs.
    private static func packet(_ type: UInt32, _ body: CaptureBytes, _ interfaces: ArraySlice<CapturedInterface>) -> CapturedPacket? {
        let fixed = type == Pcapng.simplePacket ? 4 : 20
        guard body.count >= fixed else { return nil }
        let number = type == Pcapng.simplePacket ? 0 : type == Pcapng.packet ? Int(body.u16(0)) : Int(body.u32(0))
        let position = interfaces.startIndex + number
        guard position < interfaces.endIndex else { return nil }
        if type == Pcapng.simplePacket {
            let original = Int(body.u32(0))
            let captured = min(original, body.count - fixed)
            return CapturedPacket(time: .zero, interface: position, bytes: body.slice(fixed..<fixed + captured), originalLength: original)
        }
        let captured = Int(body.u32(12))
        guard fixed + captured <= body.count else { return nil }
        let ticks = UInt64(body.u32(4)) << 32 | UInt64(body.u32(8))
        var packet = CapturedPacket(
            time: time(ticks, interfaces[position]), interface: position, bytes: body.slice(fixed..<fixed + captured), originalLength: Int(body.u32(16)))
        for (code, value) in options(of: body, at: fixed + (captured + 3) & ~3) {
            var number = CaptureBytes(value)
            number.isBigEndian = body.isBigEndian
            switch (code, value.count) {
            case (Pcapng.comment, _): packet.comments.append(text(value))
            case (Pcapng.packetFlags, 4):
                packet.flags = number.u32(0)
                packet.direction = TapDirection(rawValue: UInt8(number.u32(0) & 3))
            case (Pcapng.packetID, 8): packet.packetID = number.u64(0)
            case (Pcapng.packetVerdict, 9):
                let kind = value[value.startIndex]
                var verdict = CaptureBytes(value.dropFirst())
                verdict.isBigEndian = body.isBigEndian
                packet.isDropped = kind == Pcapng.verdictTrafficControl && verdict.u64(0) == Pcapng.verdictDrop
            default: break
            }
        }
        return packet
    }

    /// Units of the interface to nanoseconds; what does not fit in 64 bits saturates.
    static func time(_ ticks: UInt64, _ interface: CapturedInterface) -> Instant {
        var nanoseconds = ticks
        if interface.timeBase == 10 {
            for _ in 0..<abs(9 - min(interface.timeExponent, 40)) {
                if interface.timeExponent > 9 {
                    nanoseconds /= 10
                } else {
                    let (product, overflow) = nanoseconds.multipliedReportingOverflow(by: 10)
                    nanoseconds = overflow ? .max : product
                }
            }
        } else {
            let product = ticks.multipliedFullWidth(by: 1_000_000_000)
            let shift = UInt64(interface.timeExponent)
            if shift >= 64 {
                nanoseconds = shift >= 128 ? 0 : product.high >> (shift - 64)
            } else {
                nanoseconds = product.high >> shift != 0 ? .max : (shift == 0 ? product.low : product.high << (64 - shift) | product.low >> shift)
            }
        }
        let offset = interface.timeOffset.multipliedReportingOverflow(by: 1_000_000_000)
        return Instant(nanoseconds: nanoseconds) + Duration(nanoseconds: offset.overflow ? 0 : offset.partialValue)
    }

    /// IPv4 records of a name resolution block.
    private static func names(_ body: CaptureBytes) -> [(address: IPv4Address, name: String)] {
        options(of: body, at: 0).flatMap { code, value -> [(address: IPv4Address, name: String)] in
            guard code == 1, value.count > 4 else { return [] }
            var number = CaptureBytes(value)
            number.isBigEndian = true
            let address = IPv4Address(rawValue: number.u32(0))
            return value.dropFirst(4).split(separator: 0).map { (address, text($0)) }
        }
    }
}
