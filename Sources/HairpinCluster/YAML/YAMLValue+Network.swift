import HairpinWire

extension YAMLValue {
    /// An IPv4 address such as 192.168.50.11.
    public func address() throws(InputError) -> IPv4Address {
        guard let address = IPv4Address(try scalarText()) else {
            throw error(problem: "is not an IPv4 address", fix: "Write four numbers from 0 to 255, such as 192.168.50.11.")
        }
        return address
    }

    /// An IPv4 prefix such as 10.244.0.0/16, whose host bits are zero.
    public func prefix() throws(InputError) -> IPv4Prefix {
        let text = try scalarText()
        guard text.contains("/"), let prefix = IPv4Prefix(text) else {
            throw error(problem: "is not an IPv4 prefix", fix: "Write an address, a slash and a length, such as 10.244.0.0/16.")
        }
        guard prefix.description == text else { throw error(problem: "has bits set after its first \(prefix.length)", fix: "Write \(prefix).") }
        return prefix
    }
}
