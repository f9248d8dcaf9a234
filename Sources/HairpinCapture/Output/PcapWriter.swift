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
}

/// Writes a classic pcap file: Ethernet, nanoseconds, little-endian. One bounds check, four stores and a copy per packet.
public struct PcapWriter: ~Copyable {
    private var output: RecordOutput
    private let snapLength: Int

    /// Throws `cannotOpen`.
    public init(to destination: CaptureDestination, snapLength: Int = 262_144, bufferSize: Int = 1 << 18, reopens: Bool = false) throws(CaptureError) {
        var output = try RecordOutput(destination, format: .pcap, bufferSize: bufferSize, reopens: reopens)
        let header = try output.reserve(Pcap.fileHeader, isPacket: false)
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
        let record = try output.reserve(Pcap.recordHeader &+ count, isPacket: true)
        let (seconds, fraction) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        record.little(UInt32(truncatingIfNeeded: seconds), at: 0)
        record.little(UInt32(truncatingIfNeeded: fraction), at: 4)
        record.little(UInt32(truncatingIfNeeded: count), at: 8)
        record.little(UInt32(truncatingIfNeeded: originalLength ?? bytes.count), at: 12)
        if let source = bytes.baseAddress { (record + Pcap.recordHeader).copyMemory(from: source, byteCount: count) }
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
