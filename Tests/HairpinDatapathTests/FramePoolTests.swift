import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("Frames in memory")
struct FramePoolTests {
    @Test("clones share bytes until one writes")
    func copyOnWrite() {
        var pool = FramePool()
        defer { pool.deallocate() }
        let a = pool.allocate(64)
        pool[a].pointee.data.put(UInt32(0xdead_beef), at: 0)
        let b = pool.clone(a)
        #expect(pool[a].pointee.data == pool[b].pointee.data)
        pool.makeWritable(b)
        pool[b].pointee.data.put(UInt32(1), at: 0)
        #expect(pool[a].pointee.data.u32(0) == 0xdead_beef)
        #expect(pool[b].pointee.data.u32(0) == 1)
        pool.free(a)
        pool.free(b)
        #expect(pool.live == 0)
    }

    @Test("buffers come back: ten thousand frames in turn need no more than one of each size")
    func recycling() {
        var pool = FramePool()
        defer { pool.deallocate() }
        var addresses: Set<UInt> = []
        for size in 0..<10_000 {
            let frame = pool.allocate(size % 1500)
            addresses.insert(UInt(bitPattern: pool[frame].pointee.buffer))
            pool.free(frame)
        }
        // 0 to 1499 bytes fall into two sizes of buffer.
        #expect(addresses.count == 2)
    }

    @Test("the address map agrees with a dictionary through insertions and removals")
    func addressMap() {
        var map = AddressMap()
        defer { map.deallocate() }
        var model: [UInt64: UInt32] = [:]
        var random = SeededRandom(seed: 5, name: "map")
        for _ in 0..<20_000 {
            let key = UInt64(random.below(500)) + 1
            if random.below(3) == 0 {
                map.remove(key)
                model[key] = nil
            } else {
                let value = random.next32()
                map.set(key, value)
                model[key] = value
            }
        }
        for key in UInt64(1)...500 { #expect(map.find(key) == model[key]) }
        #expect(map.count == model.count)
    }
}
