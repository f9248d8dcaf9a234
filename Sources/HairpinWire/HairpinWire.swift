// HairpinWire: bytes and headers.
//
// For each protocol a *view* (checks lengths once, then cannot fail; lives as long as the bytes do) and, where we send it, a *value* that can
// only be valid and is emitted with finished checksums. No state, no time, no allocation in the views. A bad packet makes a nil view; the
// caller counts it under a named reason.
//
//   Address/   MACAddress, IPv4Address, IPv4Prefix      Ethernet/ ARP/ IPv4/ ICMP/ UDP/ TCP/   one folder per protocol
//   Bytes      big-endian access to raw memory          Checksum   full (RFC 1071) and incremental (RFC 1624)
//   Describe   one line of text for any frame           Text/      JSON, and nftables' objects as text
