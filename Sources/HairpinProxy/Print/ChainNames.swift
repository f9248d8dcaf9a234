import HairpinEngine

extension SHA256 {
    /// The first 16 letters of the digest in base 32 (RFC 4648 §6), as in `KUBE-SVC-LOLE4ISW44XBNF3G`.
    public static func chainSuffix(_ text: String) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
        let bits = digest(Array(text.utf8)).prefix(10)  // 80 bits are 16 letters
        var result = ""
        var accumulator = 0
        var count = 0
        for byte in bits {
            accumulator = accumulator << 8 | Int(byte)
            count += 8
            while count >= 5 {
                count -= 5
                result.append(alphabet[accumulator >> count & 31])
            }
            accumulator &= 1 << count - 1
        }
        return result
    }
}

/// Names of kube-proxy's chains in iptables mode.
enum IPTablesNames {
    static func suffix(_ text: String) -> String { SHA256.chainSuffix(text) }
    static func endpoint(_ rules: ServicePortRules, _ endpoint: ServiceTable.Endpoint) -> String {
        "KUBE-SEP-" + suffix(rules.name + rules.protocolName + endpoint.text)
    }
}

/// Names of kube-proxy's chains in nftables mode: eight letters of a digest, and the name itself.
enum NFTablesNames {
    /// "ULMVA6XW-ns1/svc1/tcp/p80"
    static func base(_ rules: ServicePortRules) -> String { hashed("\(rules.namespace)/\(rules.service)/\(rules.protocolName)/\(rules.portName)") }
    /// "5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    static func endpoint(_ rules: ServicePortRules, _ endpoint: ServiceTable.Endpoint) -> String {
        let address = String(endpoint.address.description.map { $0 == ":" ? "." : $0 })
        return hashed("\(rules.namespace)/\(rules.service)/\(rules.protocolName)/\(rules.portName)__\(address)/\(endpoint.port)")
    }
    private static func hashed(_ name: String) -> String { "\(SHA256.chainSuffix(name).prefix(8))-\(name)" }
}
