import CLibPCAP

/// A capture filter in pcap-filter(7) syntax, compiled by libpcap for Ethernet. It may be used from several threads at once.
public final class CaptureFilter: @unchecked Sendable {
    // Unchecked: the program is written once, here, and only read afterwards.
    public let text: String
    private let program: UnsafeMutablePointer<bpf_program>

    /// Throws `CaptureError.filter` with libpcap's reason and the column from which the text is not understood.
    public init(_ text: String) throws(CaptureError) {
        self.text = text
        program = .allocate(capacity: 1)
        program.initialize(to: bpf_program())
        if let reason = CaptureFilter.compile(text, into: program) {
            // The object is complete, so the deinitializer runs and frees the program.
            throw .filter(text: text, column: CaptureFilter.column(of: text), reason: reason)
        }
    }

    deinit {
        pcap_freecode(program)
        program.deallocate()
    }

    /// Whether the filter wants this frame. `originalLength` is for frames whose bytes are not all here (`greater`, `less`).
    @inline(__always)
    public func matches(_ bytes: UnsafeRawBufferPointer, originalLength: Int? = nil) -> Bool {
        guard let base = bytes.baseAddress else { return false }
        var header = pcap_pkthdr()
        header.caplen = UInt32(truncatingIfNeeded: bytes.count)
        header.len = UInt32(truncatingIfNeeded: originalLength ?? bytes.count)
        return pcap_offline_filter(program, &header, base.assumingMemoryBound(to: UInt8.self)) != 0
    }

    /// Nil if it compiles, else libpcap's reason.
    private static func compile(_ text: some StringProtocol, into program: UnsafeMutablePointer<bpf_program>) -> String? {
        guard !text.utf8.contains(0) else { return "the text has a zero byte" }
        guard let handle = pcap_open_dead(DLT_EN10MB, 262_144) else { return "libpcap has no memory" }
        defer { pcap_close(handle) }
        guard pcap_compile(handle, program, String(text), 1, PCAP_NETMASK_UNKNOWN) != 0 else { return nil }
        let reason = String(cString: pcap_geterr(handle))
        // "can't parse filter expression: syntax error": the words that matter are the last ones.
        let prefix = "can't parse filter expression: "
        return reason.hasPrefix(prefix) ? String(reason.dropFirst(prefix.count)) : reason
    }

    /// libpcap does not say where it stopped understanding: the place is behind the longest run of leading words that is a filter.
    private static func column(of text: String) -> Int {
        let words = text.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\n" })
        let scratch = UnsafeMutablePointer<bpf_program>.allocate(capacity: 1)
        defer { scratch.deallocate() }
        for last in words.indices.dropLast().reversed().prefix(64) {
            scratch.initialize(to: bpf_program())
            if compile(text[..<words[last].endIndex], into: scratch) == nil {
                pcap_freecode(scratch)
                return text.distance(from: text.startIndex, to: words[last + 1].startIndex) + 1
            }
        }
        return words.first.map { text.distance(from: text.startIndex, to: $0.startIndex) + 1 } ?? 0
    }
}
