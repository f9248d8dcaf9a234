import HairpinWire
import Testing

@Suite struct AddressTests {
    @Test("IPv4 text is four decimal parts without leading zeros", arguments: ["0.0.0.0", "10.244.0.2", "255.255.255.255"])
    func validIPv4(text: String) { #expect(IPv4Address(text)?.description == text) }

    @Test("what is no IPv4 address is refused", arguments: ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "+1.2.3.4", "1..2.3", "a.b.c.d"])
    func invalidIPv4(text: String) { #expect(IPv4Address(text) == nil) }

    @Test("a prefix clears the bits behind it")
    func prefix() throws {
        let prefix = try #require(IPv4Prefix("10.244.7.9/22"))
        #expect(prefix.description == "10.244.4.0/22")
        #expect(prefix.netmask == IPv4Address(255, 255, 252, 0))
        #expect(prefix.broadcast == IPv4Address(10, 244, 7, 255))
        #expect(prefix.contains(IPv4Address(10, 244, 7, 255)) && !prefix.contains(IPv4Address(10, 244, 8, 0)))
    }

    @Test("a prefix of no bits contains everything, one of 32 only itself")
    func extremePrefixes() throws {
        #expect(try #require(IPv4Prefix("0.0.0.0/0")).contains(.broadcast))
        let host = try #require(IPv4Prefix("10.0.0.1"))
        #expect(host.length == 32 && host.contains(IPv4Address(10, 0, 0, 1)) && !host.contains(IPv4Address(10, 0, 0, 0)))
        #expect(IPv4Prefix("10.0.0.0/33") == nil && IPv4Prefix("10.0.0.0/") == nil && IPv4Prefix("10.0.0.0/8/8") == nil)
    }

    @Test("an interface address keeps its host bits")
    func interfaceAddress() throws {
        let address = try #require(IPv4InterfaceAddress("10.244.0.2/24"))
        #expect(address.address == IPv4Address(10, 244, 0, 2) && address.prefix == IPv4Prefix("10.244.0.0/24"))
        #expect(address.description == "10.244.0.2/24")
        #expect(IPv4InterfaceAddress("10.244.0.2") == nil)
    }

    @Test("MAC addresses round trip, follow the CNI scheme and know their group bit")
    func mac() {
        #expect(MACAddress("0a:58:0a:f4:00:02") == MACAddress.cni(IPv4Address(10, 244, 0, 2)))
        #expect(MACAddress("0A:58:0a:F4:00:02")?.description == "0a:58:0a:f4:00:02")
        #expect(MACAddress("01:00:5e:00:00:01")?.isMulticast == true)
        #expect(MACAddress.broadcast.isMulticast && MACAddress.broadcast.isBroadcast && !MACAddress.zero.isMulticast)
        for text in ["0a:58:0a:f4:00", "0a:58:0a:f4:00:0", "0a-58-0a-f4-00-02", "0a:58:0a:f4:00:zz", "0a:58:0a:f4:00:+2:"] { #expect(MACAddress(text) == nil) }
    }

    @Test(
        "IPv6 text is canonical (RFC 5952)",
        arguments: [
            (UInt64(0), UInt64(0), "::"), (0, 1, "::1"), (0x2001_0db8_0000_0000, 1, "2001:db8::1"),
            (0x2001_0db8_0000_0001, 0x0001_0001_0001_0001, "2001:db8:0:1:1:1:1:1"),
            (0x2001_0000_0000_0001, 0x0000_0000_0000_0001, "2001:0:0:1::1"), (0xfe80_0000_0000_0000, 0x0001_0000_0000_0000, "fe80::1:0:0:0"), (1, 0, "0:0:0:1::"),
        ])
    func ipv6(high: UInt64, low: UInt64, text: String) { #expect(IPv6Address(high: high, low: low).description == text) }

    @Test("sequence numbers compare across the wrap")
    func sequenceNumbers() {
        let last = SequenceNumber(.max)
        #expect(last + 1 == SequenceNumber(0))
        #expect((last + 10).isAfter(last) && last.isBefore(last + 10) && (last + 10) - last == 10)
        #expect(last.isAtOrBefore(last) && last.isAtOrAfter(last) && !last.isBefore(last))
        #expect(SequenceNumber(5) - 10 == SequenceNumber(.max - 4))
    }
}
