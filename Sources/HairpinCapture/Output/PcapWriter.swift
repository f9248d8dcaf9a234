import HairpinEngine

/// Constants of the classic pcap format (IETF opsawg "PCAP Capture File Format").
enum Pcap {
    /// Nanosecond resolution; microseconds have 0xa1b2c3d4.
    static let magic: UInt32 = 0xa1b2_3c4d
    static let microsecondMagic: UInt32 = 0xa1b2_c3d4
    static let fileHeader = 24
    static let recordHeader = 16
    static let linkTypeEthernet: UInt32 = 1
}

extension UnsafeMutableRawPointer {
    /// Captures are little-endian on every host: the same simulation gives the same bytes.
    @inline(__always) func little(_ value: UInt32, at offset: Int) { storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt32.self) }
    @inline(__always) func little(_ value: UInt16, at offset: Int) { storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt16.self) }
    @inline(__always) func little(_ value: UInt64, at offset: Int) { storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt64.self) }
    /// Two words side by side.
    @inline(__always) func little(_ first: UInt32, _ second: UInt32, at offset: Int) { little(UInt64(first) | UInt64(second) &<< 32, at: offset) }
}

/// Writes a classic pcap file: Ethernet, nanoseconds, little-endian. One bounds check, two stores and a copy per packet.
public struct PcapWriter: ~Copyable {
    private var output: RecordOutput
    private let snapLength: Int
    /// The second of virtual time that the last packet fell into, and its first nanosecond: a division a packet would cost as much as the rest.
    private var second: UInt32 = 0
    private var secondStart: UInt64 = 0

    /// Throws `cannotOpen`.
    public init(to destination: CaptureDestination, snapLength: Int = 262_144, bufferSize: Int = 1 << 18, reopens: Bool = false) throws(CaptureError) {
        var output = try RecordOutput(destination, format: .pcap, bufferSize: bufferSize, reopens: reopens)
        let header = try output.reserve(Pcap.fileHeader, packets: 0)
        header.little(Pcap.magic, at: 0)
        header.little(UInt16(2), at: 4)
        header.little(UInt16(4), at: 6)
        header.little(UInt64(0), at: 8)  // time zone and accuracy, always zero
        header.little(UInt32(truncatingIfNeeded: snapLength), at: 16)
        header.little(Pcap.linkTypeEthernet, at: 20)
        self.output = output
        self.snapLength = snapLength
    }

    /// Appends a packet. `originalLength` is for frames whose bytes are not all here. Throws `writeFailed`.
    public mutating func write(_ bytes: UnsafeRawBufferPointer, time: Instant, originalLength: Int? = nil) throws(CaptureError) {
        let count = min(bytes.count, snapLength)
        guard let record = output.place(Pcap.recordHeader &+ count) else { return try writeAfterFlush(bytes, time, originalLength) }
        fill(record, bytes, count, time, originalLength)
    }

    @inline(never)
    private mutating func writeAfterFlush(_ bytes: UnsafeRawBufferPointer, _ time: Instant, _ originalLength: Int?) throws(CaptureError) {
        let count = min(bytes.count, snapLength)
        let record = try output.reserve(Pcap.recordHeader &+ count, packets: 1)
        fill(record, bytes, count, time, originalLength)
    }

    @inline(__always)
    private mutating func fill(_ record: UnsafeMutableRawPointer, _ bytes: UnsafeRawBufferPointer, _ count: Int, _ time: Instant, _ originalLength: Int?) {
        if time.nanoseconds &- secondStart >= 1_000_000_000 { beginSecond(time) }
        record.little(second, UInt32(truncatingIfNeeded: time.nanoseconds &- secondStart), at: 0)
        record.little(UInt32(truncatingIfNeeded: count), UInt32(truncatingIfNeeded: originalLength ?? bytes.count), at: 8)
        if let source = bytes.baseAddress { (record + Pcap.recordHeader).copyPacket(from: source, count) }
    }

    @inline(never)
    private mutating func beginSecond(_ time: Instant) {
        let seconds = time.nanoseconds / 1_000_000_000
        (second, secondStart) = (UInt32(truncatingIfNeeded: seconds), seconds * 1_000_000_000)
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
