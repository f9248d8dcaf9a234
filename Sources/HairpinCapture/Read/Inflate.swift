import CZlib

extension CaptureReader {
    /// More than this and a compressed capture is refused: a few kilobytes can claim to be terabytes.
    private static let inflatedLimit = 1 << 32

    /// The bytes of a gzip file (RFC 1952). A file that is cut gives what can be had of it.
    static func inflate(_ bytes: [UInt8], name: String) throws(CaptureError) -> [UInt8] {
        var stream = z_stream()
        // 15 bits of window, plus 16 for the gzip header.
        guard inflateInit2_(&stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw .cannotRead(file: name, reason: "zlib has no memory")
        }
        defer { inflateEnd(&stream) }
        var result: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 18)
        var failure: CaptureError?
        bytes.withUnsafeBufferPointer { input in
            stream.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
            stream.avail_in = UInt32(truncatingIfNeeded: input.count)
            piece.withUnsafeMutableBufferPointer { output in
                while true {
                    stream.next_out = output.baseAddress
                    stream.avail_out = UInt32(output.count)
                    let status = CZlib.inflate(&stream, Z_NO_FLUSH)
                    result.append(contentsOf: output[..<(output.count - Int(stream.avail_out))])
                    if result.count > inflatedLimit {
                        failure = .cannotRead(file: name, reason: "more than 4 GiB when decompressed")
                        return
                    }
                    if status == Z_STREAM_END {
                        // A gzip file may have several members.
                        if stream.avail_in == 0 || inflateReset(&stream) != Z_OK { return }
                    } else if status == Z_BUF_ERROR {
                        return
                    } else if status != Z_OK {
                        failure = .malformed(file: name, offset: input.count - Int(stream.avail_in), reason: "not gzip data from here on")
                        return
                    }
                }
            }
        }
        if let failure { throw failure }
        return result
    }
}
