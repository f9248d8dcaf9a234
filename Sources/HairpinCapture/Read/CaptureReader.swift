import HairpinEngine
import SystemPackage

/// Reads capture files: pcap (both byte orders, micro- and nanoseconds) and pcapng, plain or compressed by gzip, and whatever else libpcap knows.
public enum CaptureReader {
    /// Throws `cannotRead` and `malformed`. A file that ends inside a record is read up to there.
    public static func read(_ path: String) throws(CaptureError) -> CaptureFile {
        let bytes = try contents(path)
        if let magic = magic(of: bytes), isForLibpcap(magic) { return try readWithLibpcap(path) }
        return try parse(bytes, name: path)
    }

    /// Parses a file that is in memory already. `name` is for messages.
    public static func parse(_ bytes: [UInt8], name: String) throws(CaptureError) -> CaptureFile {
        if bytes.starts(with: [0x1f, 0x8b]) { return try parse(try inflate(bytes, name: name), name: name) }
        guard let magic = magic(of: bytes) else { throw .malformed(file: name, offset: 0, reason: "too short for a capture file") }
        if magic == Pcapng.sectionHeader { return try parsePcapng(bytes, name: name) }
        return try parsePcap(bytes, name: name)
    }

    private static func magic(of bytes: [UInt8]) -> UInt32? { bytes.count >= 4 ? CaptureBytes(bytes[...]).u32(0) : nil }

    /// Kuznetzov's and other old variants of pcap, whose packet headers are longer.
    private static func isForLibpcap(_ magic: UInt32) -> Bool { [0xa1b2_cd34, 0x34cd_b2a1, 0xa1b2_34cd, 0xcd34_b2a1].contains(magic) }

    private static func contents(_ path: String) throws(CaptureError) -> [UInt8] {
        do {
            let file = try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec])
            defer { try? file.close() }
            var bytes: [UInt8] = []
            let chunk = 1 << 18
            while true {
                let piece = try [UInt8](unsafeUninitializedCapacity: chunk) { buffer, count in count = try file.read(into: UnsafeMutableRawBufferPointer(buffer)) }
                if piece.isEmpty { return bytes }
                bytes.append(contentsOf: piece)
            }
        } catch {
            throw .cannotRead(file: path, reason: words(error))
        }
    }

    /// IETF opsawg "PCAP Capture File Format", §4 and §5.
    static func parsePcap(_ bytes: [UInt8], name: String) throws(CaptureError) -> CaptureFile {
        var input = CaptureBytes(bytes[...])
        let swapped = input.u32(0).byteSwapped
        input.isBigEndian = swapped == Pcap.magic || swapped == Pcap.microsecondMagic
        let magic = input.u32(0)
        guard magic == Pcap.magic || magic == Pcap.microsecondMagic else {
            throw .malformed(
                file: name, offset: 0,
                reason:
                    "neither pcap nor pcapng: the first bytes are \(bytes.prefix(4).map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined(separator: " "))"
            )
        }
        guard input.count >= Pcap.fileHeader else { throw .malformed(file: name, offset: input.count, reason: "the file header is cut") }
        let unit: UInt64 = magic == Pcap.magic ? 1 : 1000
        var file = CaptureFile(format: .pcap)
        var interface = CapturedInterface()
        interface.linkType = input.u32(20) & 0x0fff_ffff  // the upper bits tell about a frame check sequence
        file.interfaces = [interface]
        var at = Pcap.fileHeader
        while at < input.count {
            guard at + Pcap.recordHeader <= input.count else {
                file.isTruncated = true
                break
            }
            let captured = Int(input.u32(at + 8))
            guard at + Pcap.recordHeader + captured <= input.count else {
                file.isTruncated = true
                break
            }
            let start = at + Pcap.recordHeader
            let nanoseconds = UInt64(input.u32(at)) * 1_000_000_000 + UInt64(input.u32(at + 4)) * unit
            file.packets.append(
                CapturedPacket(
                    time: Instant(nanoseconds: nanoseconds), interface: 0, bytes: input.slice(start..<start + captured), originalLength: Int(input.u32(at + 12))))
            at = start + captured
        }
        return file
    }
}
