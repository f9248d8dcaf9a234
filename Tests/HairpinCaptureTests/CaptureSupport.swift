import Foundation
import HairpinCapture
import HairpinDatapath
import HairpinEngine
import HairpinWire

/// A folder of its own for one test.
struct Scratch: ~Copyable {
    let folder: URL
    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("hairpin-capture-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(at: folder) }
    func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted() }
}

/// A frame of `count` bytes from one address to another; the last bytes tell `number`.
func frame(_ number: UInt8, count: Int = 60, to destination: MACAddress = MACAddress(rawValue: 0x0a58_0af4_0003)) -> [UInt8] {
    var bytes = [UInt8](repeating: number, count: count)
    for n in 0..<6 {
        bytes[n] = UInt8(truncatingIfNeeded: destination.rawValue >> (40 - 8 * n))
        bytes[6 + n] = [0x0a, 0x58, 0x0a, 0xf4, 0, 2][n]
    }
    (bytes[12], bytes[13]) = (0x08, 0x06)
    return bytes
}

extension TapObserver {
    func saw(_ bytes: [UInt8], at nanoseconds: UInt64, on index: UInt32, _ direction: TapDirection = .inbound, id: UInt64 = 0) {
        bytes.withUnsafeBytes {
            saw($0, TapEvent(time: Instant(nanoseconds: nanoseconds), interface: InterfaceIndex(index), direction: direction, packetID: id))
        }
    }
    func dropped(_ bytes: [UInt8], at nanoseconds: UInt64, on index: UInt32, id: UInt64, _ reason: DropReason) {
        bytes.withUnsafeBytes {
            dropped($0, TapEvent(time: Instant(nanoseconds: nanoseconds), interface: InterfaceIndex(index), direction: .inbound, packetID: id), reason: reason)
        }
    }
}

extension PcapWriter {
    mutating func write(_ bytes: [UInt8], at nanoseconds: UInt64) throws {
        try bytes.withUnsafeBytes { try write($0, time: Instant(nanoseconds: nanoseconds)) }
    }
}
