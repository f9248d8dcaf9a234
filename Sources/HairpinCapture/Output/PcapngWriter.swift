import HairpinDatapath
import HairpinEngine
import HairpinWire

/// Constants of the pcapng format (IETF opsawg "PCAP Next Generation Capture File Format").
enum Pcapng {
    static let sectionHeader: UInt32 = 0x0a0d_0d0a, interfaceDescription: UInt32 = 1, packet: UInt32 = 2, simplePacket: UInt32 = 3
    static let nameResolution: UInt32 = 4, interfaceStatistics: UInt32 = 5, enhancedPacket: UInt32 = 6
    static let byteOrderMagic: UInt32 = 0x1a2b_3c4d
    // Options.
    static let comment: UInt16 = 1
    static let hardware: UInt16 = 2, operatingSystem: UInt16 = 3, application: UInt16 = 4
    static let interfaceName: UInt16 = 2, interfaceText: UInt16 = 3, interfaceIPv4: UInt16 = 4, interfaceMAC: UInt16 = 6, interfaceSpeed: UInt16 = 8
    static let timeResolution: UInt16 = 9, interfaceFilter: UInt16 = 11, timeOffset: UInt16 = 14
    static let packetFlags: UInt16 = 2, packetID: UInt16 = 5, packetVerdict: UInt16 = 7
    static let startTime: UInt16 = 2, endTime: UInt16 = 3, received: UInt16 = 4, dropped: UInt16 = 5
    /// `epb_verdict`: the type octet for Linux's eBPF traffic control, and its TC_ACT_SHOT.
    static let verdictTrafficControl: UInt8 = 1, verdictDrop: UInt64 = 2
    /// Fixed fields of an enhanced packet block before the bytes; the block's length comes again at its end.
    static let packetHeader = 28
}

/// What a pcapng file says about itself.
public struct PcapngSection: Sendable, Equatable {
    public var application: String
    public var hardware = ""
    public var operatingSystem = ""
    public var comment = ""
    public init(application: String, comment: String = "") {
        self.application = application
        self.comment = comment
    }
}

/// An interface of a pcapng file.
public struct PcapngInterface: Sendable, Equatable {
    public var name: String
    public var text: String
    public var mac: MACAddress
    public var addresses: [IPv4InterfaceAddress]
    /// Bits per second; zero is unknown.
    public var speed: UInt64
    public var filter: String
    public init(name: String, text: String = "", mac: MACAddress = .zero, addresses: [IPv4InterfaceAddress] = [], speed: UInt64 = 0, filter: String = "") {
        self.name = name
        self.text = text
        self.mac = mac
        self.addresses = addresses
        self.speed = speed
        self.filter = filter
    }
}

/// Writes a pcapng file of one section: Ethernet, nanoseconds, little-endian.
public struct PcapngWriter: ~Copyable {
    private var output: RecordOutput
    private let interfaceCount: Int
    private let snapLength: Int

    /// Writes the section header and the interfaces, which are numbered from zero in the order given. Throws `cannotOpen`.
    public init(
        to destination: CaptureDestination, section: PcapngSection, interfaces: [PcapngInterface],
        snapLength: Int = 262_144, bufferSize: Int = 1 << 18, memory: CaptureMemory = CaptureMemory()
    ) throws(CaptureError) {
        var output = try RecordOutput(destination, format: .pcapng, bufferSize: bufferSize, memory: memory)
        var header = PcapngBlock(Pcapng.sectionHeader)
        header.append(Pcapng.byteOrderMagic)
        header.append(UInt16(1))
        header.append(UInt16(0))
        header.append(UInt64.max)  // the section's length is not known beforehand
        header.option(Pcapng.comment, text: section.comment)
        header.option(Pcapng.hardware, text: section.hardware)
        header.option(Pcapng.operatingSystem, text: section.operatingSystem)
        header.option(Pcapng.application, text: section.application)
        try PcapngWriter.append(header, to: &output)
        for interface in interfaces { try PcapngWriter.append(PcapngWriter.description(of: interface, snapLength), to: &output) }
        self.output = output
        interfaceCount = interfaces.count
        self.snapLength = snapLength
    }

    private static func description(of interface: PcapngInterface, _ snapLength: Int) -> PcapngBlock {
        var block = PcapngBlock(Pcapng.interfaceDescription)
        block.append(UInt16(Pcap.linkTypeEthernet))
        block.append(UInt16(0))
        block.append(UInt32(truncatingIfNeeded: snapLength))
        block.option(Pcapng.interfaceName, text: interface.name)
        block.option(Pcapng.interfaceText, text: interface.text)
        for address in interface.addresses {
            block.option(Pcapng.interfaceIPv4, bytes: [address.address, address.prefix.netmask].flatMap { PcapngBlock.bigEndian($0.rawValue) })
        }
        if interface.mac != .zero { block.option(Pcapng.interfaceMAC, bytes: (0..<6).map { UInt8(truncatingIfNeeded: interface.mac.rawValue >> (40 - 8 * $0)) }) }
        if interface.speed > 0 { block.option(Pcapng.interfaceSpeed, number: interface.speed) }
        block.option(Pcapng.timeResolution, bytes: [9])
        if !interface.filter.isEmpty { block.option(Pcapng.interfaceFilter, bytes: [0] + Array(interface.filter.utf8)) }
        return block
    }

    /// Appends a packet seen on `interface`. A `packetID` of zero is left out. Throws `writeFailed`.
    public mutating func write(
        _ bytes: UnsafeRawBufferPointer, time: Instant, interface: Int, flags: PcapngFlags, packetID: UInt64 = 0, originalLength: Int? = nil
    ) throws(CaptureError) {
        assert(interface < interfaceCount, "a packet of an interface the file does not have")
        let count = min(bytes.count, snapLength)
        guard let block = output.place(PcapngWriter.byteCount(count, packetID)) else {
            return try writeAfterFlush(bytes, time, interface, flags, packetID, originalLength)
        }
        PcapngWriter.fill(block, bytes, count, time, interface, flags, packetID, originalLength)
    }

    @inline(never)
    private mutating func writeAfterFlush(
        _ bytes: UnsafeRawBufferPointer, _ time: Instant, _ interface: Int, _ flags: PcapngFlags, _ packetID: UInt64, _ originalLength: Int?
    ) throws(CaptureError) {
        let count = min(bytes.count, snapLength)
        let block = try output.reserve(PcapngWriter.byteCount(count, packetID), packets: 1)
        PcapngWriter.fill(block, bytes, count, time, interface, flags, packetID, originalLength)
    }

    /// Fixed fields and padded bytes, the flags (8), the id (12), the end of the options (4), the length again (4).
    @inline(__always)
    private static func byteCount(_ count: Int, _ packetID: UInt64) -> Int { Pcapng.packetHeader &+ (count &+ 3) & ~3 &+ (packetID == 0 ? 16 : 28) }

    @inline(__always)
    private static func fill(
        _ block: UnsafeMutableRawPointer, _ bytes: UnsafeRawBufferPointer, _ count: Int, _ time: Instant, _ interface: Int, _ flags: PcapngFlags,
        _ packetID: UInt64, _ originalLength: Int?
    ) {
        let total = UInt32(truncatingIfNeeded: byteCount(count, packetID))
        block.little(Pcapng.enhancedPacket, total, at: 0)
        block.little(UInt32(truncatingIfNeeded: interface), UInt32(truncatingIfNeeded: time.nanoseconds &>> 32), at: 8)
        block.little(UInt32(truncatingIfNeeded: time.nanoseconds), UInt32(truncatingIfNeeded: count), at: 16)
        block.little(UInt32(truncatingIfNeeded: originalLength ?? bytes.count), at: 24)
        var at = Pcapng.packetHeader &+ (count &+ 3) & ~3
        block.little(UInt32(0), at: at &- 4 < Pcapng.packetHeader ? at : at &- 4)  // padding, before the bytes cover it
        if let source = bytes.baseAddress { (block + Pcapng.packetHeader).copyPacket(from: source, count) }
        block.little(UInt32(Pcapng.packetFlags) | 4 << 16, flags.rawValue, at: at)
        at &+= 8
        if packetID != 0 {
            block.little(UInt32(Pcapng.packetID) | 8 << 16, at: at)
            block.little(packetID, at: at &+ 4)
            at &+= 12
        }
        block.little(UInt32(0), total, at: at)
    }

    /// Appends enhanced packet blocks as they are, `count` of them. Their interfaces must be the file's. Throws `writeFailed`.
    mutating func write(blocks: UnsafeRawBufferPointer, count: Int) throws(CaptureError) {
        try output.write(blocks, packets: count)
    }

    /// The same for a file in memory, which takes the memory that begins with the blocks; `isOfStore` if `CaptureMemory` gave it out. The writer must not have failed.
    mutating func adopt(_ blocks: UnsafeRawBufferPointer, count: Int, isOfStore: Bool) { output.adopt(blocks, packets: count, isOfStore: isOfStore) }

    /// Appends a packet with comments, and with the verdict "dropped" if it was. Throws `writeFailed`.
    public mutating func write(
        _ bytes: UnsafeRawBufferPointer, time: Instant, interface: Int, flags: PcapngFlags, packetID: UInt64 = 0, originalLength: Int? = nil,
        isDropped: Bool, comments: [String]
    ) throws(CaptureError) {
        assert(interface < interfaceCount, "a packet of an interface the file does not have")
        var block = PcapngBlock(Pcapng.enhancedPacket)
        block.append(UInt32(truncatingIfNeeded: interface))
        block.append(UInt32(truncatingIfNeeded: time.nanoseconds >> 32))
        block.append(UInt32(truncatingIfNeeded: time.nanoseconds))
        block.append(UInt32(truncatingIfNeeded: min(bytes.count, snapLength)))
        block.append(UInt32(truncatingIfNeeded: originalLength ?? bytes.count))
        block.append(UnsafeRawBufferPointer(rebasing: bytes.prefix(snapLength)))
        block.option(Pcapng.packetFlags, number: flags.rawValue)
        if packetID != 0 { block.option(Pcapng.packetID, number: packetID) }
        if isDropped {
            block.option(Pcapng.packetVerdict, bytes: [Pcapng.verdictTrafficControl] + (0..<8).map { UInt8(truncatingIfNeeded: Pcapng.verdictDrop >> (8 * $0)) })
        }
        for comment in comments { block.option(Pcapng.comment, text: comment) }
        try PcapngWriter.append(block, to: &output)
    }

    /// Appends a name resolution block: what Wireshark shows instead of addresses.
    public mutating func write(names: [(address: IPv4Address, name: String)]) throws(CaptureError) {
        guard !names.isEmpty else { return }
        var block = PcapngBlock(Pcapng.nameResolution)
        for (address, name) in names { block.option(1, bytes: PcapngBlock.bigEndian(address.rawValue) + Array(name.utf8.filter { $0 != 0 }.prefix(1024)) + [0]) }
        block.endOfOptions(always: true)
        try PcapngWriter.append(block, to: &output)
    }

    /// Appends an interface statistics block; it belongs at the end of the file.
    public mutating func write(statisticsOf interface: Int, at time: Instant, from start: Instant, received: UInt64, dropped: UInt64) throws(CaptureError) {
        var block = PcapngBlock(Pcapng.interfaceStatistics)
        block.append(UInt32(truncatingIfNeeded: interface))
        for half in PcapngBlock.halves(time) { block.append(half) }
        block.option(Pcapng.startTime, halves: start)
        block.option(Pcapng.endTime, halves: time)
        block.option(Pcapng.received, number: received)
        block.option(Pcapng.dropped, number: dropped)
        try PcapngWriter.append(block, to: &output)
    }

    private static func append(_ block: consuming PcapngBlock, to output: inout RecordOutput) throws(CaptureError) {
        let isPacket = block.type == Pcapng.enhancedPacket
        let bytes = block.finished()
        let place = try output.reserve(bytes.count, packets: isPacket ? 1 : 0)
        bytes.withUnsafeBytes { place.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    }

    public var packets: UInt64 { output.packets }
    public var failure: CaptureError? { output.failure }
    /// The cheap form of `failure != nil`.
    public var hasFailed: Bool { output.hasFailed }
    /// Hands what is buffered to the operating system.
    public mutating func flush() throws(CaptureError) { try output.flush() }
    /// Flushes and closes; calling it again does nothing.
    public mutating func finish() throws(CaptureError) { try output.finish() }
    /// The file, if the destination is memory.
    public var memory: [UInt8] { output.memory }
}
