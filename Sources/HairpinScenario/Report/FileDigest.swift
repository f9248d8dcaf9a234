import Foundation
import HairpinEngine

/// SHA-256 of files, so that a result names the bytes it stands for. In hexadecimal, as sha256sum prints it.
enum FileDigest {
    static func sha256(_ bytes: [UInt8]) -> String { SHA256.hexadecimal(SHA256.digest(bytes)) }

    static func sha256(file path: String) throws(Failure) -> String {
        guard let handle = FileHandle(forReadingAtPath: path) else { throw Failure(.output, "\(path): cannot be read back") }
        defer { try? handle.close() }
        var hash = SHA256()
        do {
            while let part = try handle.read(upToCount: 1 << 20), !part.isEmpty { hash.update([UInt8](part)) }
        } catch {
            throw Failure(.output, "\(path): cannot be read back")
        }
        return SHA256.hexadecimal(hash.finish())
    }
}
