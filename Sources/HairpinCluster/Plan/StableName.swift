/// Names and numbers that look random, as Kubernetes' do, and depend on nothing but what they name.
enum StableName {
    /// The letters and digits Kubernetes uses where it makes up names: no vowels, so no words.
    private static let alphabet = Array("bcdfghjklmnpqrstvwxz2456789")

    /// FNV-1a over the UTF-8 bytes.
    static func hash64(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        // FNV leaves the upper bits of short texts alike.
        hash = (hash ^ hash >> 33) &* 0xff51_afd7_ed55_8ccd
        hash = (hash ^ hash >> 33) &* 0xc4ce_b9fe_1a85_ec53
        return hash ^ hash >> 33
    }
    static func hash32(_ text: String) -> UInt32 {
        var hash: UInt32 = 0x811c_9dc5
        for byte in text.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        return hash
    }

    /// Five letters, as at the end of a pod's name.
    static func suffix(_ text: String) -> String {
        var hash = hash64(text)
        return String(
            (0..<5).map { _ in
                defer { hash /= 27 }
                return alphabet[Int(hash % 27)]
            })
    }

    /// A ReplicaSet's hash: the decimal digits of a 32-bit hash of the template, each written as a letter of the alphabet.
    static func templateHash(_ text: String) -> String {
        String(String(hash32(text)).utf8.map { alphabet[Int($0) % alphabet.count] })
    }

    static func hexadecimal(_ value: UInt64, digits: Int) -> String {
        let text = String(value, radix: 16)
        return text.utf8.count >= digits ? String(text.suffix(digits)) : String(repeating: "0", count: digits - text.utf8.count) + text
    }
}
