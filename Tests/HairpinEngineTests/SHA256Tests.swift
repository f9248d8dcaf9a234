import HairpinEngine
import Testing

@Suite("SHA-256")
struct SHA256Tests {
    @Test(
        "has the digests of FIPS 180-4's examples",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        ])
    func examples(text: String, expected: String) { #expect(SHA256.hexadecimal(SHA256.digest(Array(text.utf8))) == expected) }

    @Test("does not depend on how the message is cut", arguments: [1, 3, 55, 63, 64, 65, 127, 128, 1000])
    func pieces(size: Int) {
        let message = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        var hash = SHA256()
        for start in stride(from: 0, to: message.count, by: size) { hash.update(Array(message[start..<min(start + size, message.count)])) }
        #expect(hash.finish() == SHA256.digest(message))
    }
}

@Suite("Durations")
struct DurationTests {
    @Test("of absurdly many units stand still at the ends")
    func saturation() {
        #expect(Duration.seconds(.max).nanoseconds == .max)
        #expect(Duration.milliseconds(.min).nanoseconds == -Int64.max)
        #expect(Duration.microseconds(3).nanoseconds == 3_000)
        #expect(Instant.zero + .seconds(.max) < .distantFuture)
        #expect(Instant(nanoseconds: 5) - Duration(nanoseconds: .min) == .zero)
    }
}
