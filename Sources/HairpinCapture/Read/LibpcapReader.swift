import CLibPCAP
import HairpinEngine

extension CaptureReader {
    /// Reads a file with libpcap: every format it knows, and a second opinion on our own.
    public static func readWithLibpcap(_ path: String) throws(CaptureError) -> CaptureFile {
        var buffer = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
        guard let handle = pcap_open_offline_with_tstamp_precision(path, UInt32(PCAP_TSTAMP_PRECISION_NANO), &buffer) else {
            throw .cannotRead(file: path, reason: String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        defer { pcap_close(handle) }
        var file = CaptureFile(format: .pcap)
        var interface = CapturedInterface()
        interface.linkType = UInt32(truncatingIfNeeded: pcap_datalink(handle))
        file.interfaces = [interface]
        var header: UnsafeMutablePointer<pcap_pkthdr>?
        var data: UnsafePointer<UInt8>?
        while true {
            let status = pcap_next_ex(handle, &header, &data)
            guard status == 1, let header, let data else {
                file.isTruncated = status == PCAP_ERROR
                return file
            }
            // With nanosecond precision `tv_usec` counts nanoseconds.
            let time = UInt64(bitPattern: Int64(header.pointee.ts.tv_sec)) &* 1_000_000_000 &+ UInt64(bitPattern: Int64(header.pointee.ts.tv_usec))
            file.packets.append(
                CapturedPacket(
                    time: Instant(nanoseconds: time), interface: 0, bytes: [UInt8](UnsafeBufferPointer(start: data, count: Int(header.pointee.caplen)))[...],
                    originalLength: Int(header.pointee.len)))
        }
    }
}
