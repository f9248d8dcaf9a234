import HairpinEngine

extension SHA256 {
    /// The first 16 letters of the digest in base 32 (RFC 4648 §6), as in `KUBE-SVC-LOLE4ISW44XBNF3G`.
    static func chainSuffix(_ text: String) -> String {
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
