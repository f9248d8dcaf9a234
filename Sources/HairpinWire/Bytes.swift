/// Big-endian access to raw memory. Offsets are trusted: the views check lengths once, when they are made.
extension UnsafeRawPointer {
    @inlinable @inline(__always) public func u8(_ offset: Int) -> UInt8 { load(fromByteOffset: offset, as: UInt8.self) }
    @inlinable @inline(__always) public func u16(_ offset: Int) -> UInt16 { UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self)) }
    @inlinable @inline(__always) public func u32(_ offset: Int) -> UInt32 { UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
    /// Six bytes as a number.
    @inlinable @inline(__always) public func mac(_ offset: Int) -> MACAddress { MACAddress(rawValue: UInt64(u16(offset)) << 32 | UInt64(u32(offset + 2))) }
    @inlinable @inline(__always) public func ipv4(_ offset: Int) -> IPv4Address { IPv4Address(rawValue: u32(offset)) }
}

extension UnsafeMutableRawPointer {
    @inlinable @inline(__always) public func u8(_ offset: Int) -> UInt8 { UnsafeRawPointer(self).u8(offset) }
    @inlinable @inline(__always) public func u16(_ offset: Int) -> UInt16 { UnsafeRawPointer(self).u16(offset) }
    @inlinable @inline(__always) public func u32(_ offset: Int) -> UInt32 { UnsafeRawPointer(self).u32(offset) }
    @inlinable @inline(__always) public func mac(_ offset: Int) -> MACAddress { UnsafeRawPointer(self).mac(offset) }
    @inlinable @inline(__always) public func ipv4(_ offset: Int) -> IPv4Address { UnsafeRawPointer(self).ipv4(offset) }

    @inlinable @inline(__always) public func put(_ value: UInt8, at offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt8.self) }
    @inlinable @inline(__always) public func put(_ value: UInt16, at offset: Int) { storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self) }
    @inlinable @inline(__always) public func put(_ value: UInt32, at offset: Int) { storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self) }
    @inlinable @inline(__always) public func put(_ value: MACAddress, at offset: Int) {
        put(UInt16(truncatingIfNeeded: value.rawValue >> 32), at: offset)
        put(UInt32(truncatingIfNeeded: value.rawValue), at: offset + 2)
    }
    @inlinable @inline(__always) public func put(_ value: IPv4Address, at offset: Int) { put(value.rawValue, at: offset) }

    /// Copies the bytes of a packet. Small ones, of which there are most, take two moves that overlap instead of a call.
    @inlinable @inline(__always) public func copyPacket(from source: UnsafeRawPointer, _ count: Int) {
        if count >= 32, count <= 64 {
            let head = source.loadUnaligned(as: SIMD32<UInt8>.self)
            let tail = source.loadUnaligned(fromByteOffset: count &- 32, as: SIMD32<UInt8>.self)
            storeBytes(of: head, as: SIMD32<UInt8>.self)
            storeBytes(of: tail, toByteOffset: count &- 32, as: SIMD32<UInt8>.self)
        } else {
            copyMemory(from: source, byteCount: count)
        }
    }
}
