/// Kinds of TCP options in use (IANA "TCP Option Kind Numbers").
public enum TCPOptionKind {
    public static let endOfList: UInt8 = 0, noOperation: UInt8 = 1, maximumSegmentSize: UInt8 = 2, windowScale: UInt8 = 3
    public static let sackPermitted: UInt8 = 4, sack: UInt8 = 5, timestamps: UInt8 = 8
}

/// One option of a TCP header.
@frozen
public enum TCPOption: Sendable, Equatable {
    case endOfList
    case noOperation
    /// RFC 9293 §3.7.1.
    case maximumSegmentSize(UInt16)
    /// The shift as sent; more than 14 counts as 14 (RFC 7323 §2.3).
    case windowScale(UInt8)
    case sackPermitted
    /// RFC 2018 §3.
    case sack(SACKBlocks)
    /// RFC 7323 §3.2.
    case timestamps(value: UInt32, echo: UInt32)
    /// Any other kind; `length` counts kind and length bytes as well.
    case unknown(kind: UInt8, length: Int)
}

/// Up to four blocks of a SACK option, kept by value.
@frozen
public struct SACKBlocks: Sendable, Equatable, RandomAccessCollection {
    @usableFromInline var edges: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    public let count: Int

    /// `count` blocks of eight bytes at `base`; no more than four fit in a header.
    @inlinable init(_ base: UnsafeRawPointer, count: Int) {
        self.count = Swift.min(count, 4)
        func block(_ n: Int) -> UInt64 { UInt64(base.u32(8 * n)) << 32 | UInt64(base.u32(8 * n + 4)) }
        if count > 0 { edges.0 = block(0) }
        if count > 1 { edges.1 = block(1) }
        if count > 2 { edges.2 = block(2) }
        if count > 3 { edges.3 = block(3) }
    }
    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { count }
    /// The first byte received and the one behind the last.
    @inlinable public subscript(n: Int) -> (left: SequenceNumber, right: SequenceNumber) {
        precondition(n >= 0 && n < count, "no such SACK block")
        let block = n == 0 ? edges.0 : n == 1 ? edges.1 : n == 2 ? edges.2 : edges.3
        return (SequenceNumber(UInt32(truncatingIfNeeded: block >> 32)), SequenceNumber(UInt32(truncatingIfNeeded: block)))
    }
    @inlinable public static func == (a: SACKBlocks, b: SACKBlocks) -> Bool { a.count == b.count && a.edges == b.edges }
}

/// The options of a TCP header one after the other, without allocation: `for option in TCPOptions(view.options)`.
///
/// It ends at the end-of-list option, which it still gives, and before an option whose length is impossible, as Linux's
/// `tcp_parse_options` does. An option of a known kind with the wrong length is `unknown`.
@frozen
public struct TCPOptions: Sequence, IteratorProtocol {
    @usableFromInline let bytes: UnsafeRawBufferPointer
    @usableFromInline var at = 0
    /// True once the iteration met an option that does not fit.
    public private(set) var isMalformed = false

    /// `bytes` must outlive the iteration.
    @inlinable public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    public mutating func next() -> TCPOption? {
        guard at < bytes.count, let base = bytes.baseAddress else { return nil }
        let kind = base.u8(at)
        if kind == TCPOptionKind.noOperation {
            at += 1
            return .noOperation
        }
        if kind == TCPOptionKind.endOfList {
            at = bytes.count
            return .endOfList
        }
        guard at + 1 < bytes.count, case let length = Int(base.u8(at + 1)), length >= 2, at + length <= bytes.count else {
            isMalformed = true
            at = bytes.count
            return nil
        }
        let body = base + at + 2
        at += length
        switch (kind, length) {
        case (TCPOptionKind.maximumSegmentSize, 4): return .maximumSegmentSize(body.u16(0))
        case (TCPOptionKind.windowScale, 3): return .windowScale(body.u8(0))
        case (TCPOptionKind.sackPermitted, 2): return .sackPermitted
        case (TCPOptionKind.sack, 10), (TCPOptionKind.sack, 18), (TCPOptionKind.sack, 26), (TCPOptionKind.sack, 34):
            return .sack(SACKBlocks(body, count: (length - 2) / 8))
        case (TCPOptionKind.timestamps, 10): return .timestamps(value: body.u32(0), echo: body.u32(4))
        default: return .unknown(kind: kind, length: length)
        }
    }
}
