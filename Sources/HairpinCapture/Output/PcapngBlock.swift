import HairpinEngine

/// A pcapng block under construction, for everything but plain packets.
struct PcapngBlock {
    let type: UInt32
    private var bytes: [UInt8] = []
    private var hasOptions = false

    init(_ type: UInt32) {
        self.type = type
        append(type)
        append(UInt32(0))  // the length, once it is known
    }

    mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
    }
    /// Bytes, filled up to a multiple of four.
    mutating func append(_ content: UnsafeRawBufferPointer) {
        bytes.append(contentsOf: content)
        pad()
    }
    mutating func option(_ code: UInt16, bytes content: [UInt8]) {
        hasOptions = true
        append(code)
        append(UInt16(truncatingIfNeeded: content.count))
        bytes.append(contentsOf: content)
        pad()
    }
    /// Left out if empty. An option holds at most 65535 bytes; longer text is cut at a character.
    mutating func option(_ code: UInt16, text: String) {
        guard !text.isEmpty else { return }
        var shown = text[...]
        while shown.utf8.count > Int(UInt16.max) { shown = shown.prefix(shown.count - max(1, (shown.utf8.count - Int(UInt16.max)) / 4)) }
        option(code, bytes: Array(shown.utf8))
    }
    mutating func option<Number: FixedWidthInteger>(_ code: UInt16, number: Number) {
        option(code, bytes: withUnsafeBytes(of: number.littleEndian) { Array($0) })
    }
    /// A time: its upper and then its lower half.
    mutating func option(_ code: UInt16, halves time: Instant) {
        option(code, bytes: PcapngBlock.halves(time).flatMap { half in withUnsafeBytes(of: half.littleEndian) { Array($0) } })
    }
    mutating func endOfOptions(always: Bool = false) {
        if hasOptions || always { append(UInt32(0)) }
        hasOptions = false
    }

    /// The block with its length at both ends.
    consuming func finished() -> [UInt8] {
        endOfOptions()
        let total = UInt32(truncatingIfNeeded: bytes.count + 4)
        append(total)
        withUnsafeBytes(of: total.littleEndian) { bytes.replaceSubrange(4..<8, with: $0) }
        return bytes
    }

    private mutating func pad() {
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    static func halves(_ time: Instant) -> [UInt32] { [UInt32(truncatingIfNeeded: time.nanoseconds >> 32), UInt32(truncatingIfNeeded: time.nanoseconds)] }
    static func bigEndian(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }
}
