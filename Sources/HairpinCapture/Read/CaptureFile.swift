import HairpinDatapath
import HairpinEngine
import HairpinWire

/// A packet of a capture file.
public struct CapturedPacket: Sendable {
    /// Since the epoch of the file: 1970, or the start of a simulation.
    public var time: Instant
    /// Index into `CaptureFile.interfaces`.
    public var interface: Int
    public var bytes: ArraySlice<UInt8>
    /// On the wire; more than `bytes.count` if the capture cut the frame.
    public var originalLength: Int
    public var direction: TapDirection?
    public var flags: UInt32 = 0
    public var packetID: UInt64?
    public var isDropped = false
    public var comments: [String] = []
}

/// An interface of a capture file; a pcap has one without a name.
public struct CapturedInterface: Sendable, Equatable {
    public var name = ""
    public var text = ""
    public var mac: MACAddress?
    public var addresses: [IPv4InterfaceAddress] = []
    public var speed: UInt64 = 0
    public var filter = ""
    /// LINKTYPE_*; 1 is Ethernet.
    public var linkType: UInt32 = 1
    /// From the statistics block.
    public var received: UInt64?
    public var dropped: UInt64?
    /// Nanoseconds of one unit of time are 10^9 / base^exponent.
    var timeBase: UInt64 = 10
    var timeExponent = 6
    /// Seconds added to every time.
    var timeOffset: Int64 = 0
}

/// A whole capture file in memory.
public struct CaptureFile: Sendable {
    public enum Format: String, Sendable { case pcap, pcapng }
    public var format: Format
    public var interfaces: [CapturedInterface] = []
    public var packets: [CapturedPacket] = []
    /// From name resolution blocks.
    public var names: [(address: IPv4Address, name: String)] = []
    public var application = ""
    public var comment = ""
    /// The file ends inside a record: the packets before it are all here.
    public var isTruncated = false

    init(format: Format) { self.format = format }
}

/// Numbers of a capture file, whose byte order the file itself tells. Offsets are checked by the callers.
struct CaptureBytes {
    let bytes: ArraySlice<UInt8>
    var isBigEndian = false

    init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }
    var count: Int { bytes.count }

    func u16(_ offset: Int) -> UInt16 { UInt16(truncatingIfNeeded: number(offset, 2)) }
    func u32(_ offset: Int) -> UInt32 { UInt32(truncatingIfNeeded: number(offset, 4)) }
    func u64(_ offset: Int) -> UInt64 { number(offset, 8) }
    func slice(_ range: Range<Int>) -> ArraySlice<UInt8> { bytes[bytes.startIndex + range.lowerBound..<bytes.startIndex + range.upperBound] }

    private func number(_ offset: Int, _ count: Int) -> UInt64 {
        bytes.withUnsafeBytes { raw in
            var value: UInt64 = 0
            for n in 0..<count { value = value << 8 | UInt64(raw[isBigEndian ? offset + n : offset + count - 1 - n]) }
            return value
        }
    }
}
