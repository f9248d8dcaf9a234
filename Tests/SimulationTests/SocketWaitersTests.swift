import HairpinDatapath
import HairpinEngine
@testable import HairpinHost
import HairpinTransport
import Testing

@Suite("Who waits for which socket")
struct SocketWaitersTests {
    @Test("sleepers are found, whoever else comes and goes")
    func random() {
        let waiters = SocketWaiters()
        var reference: [UInt64: [UInt32]] = [:]
        var sleeping: Set<UInt32> = []
        var random = SeededRandom(seed: 3, name: "waiters")
        for _ in 0..<20_000 {
            let space = NamespaceIndex(random.below(3)), socket = SocketID(1 + random.below(40)), process = random.below(100)
            let key = UInt64(space.rawValue) << 32 | UInt64(socket.rawValue)
            switch random.below(4) {
            case 0:
                waiters.add(process, space, socket)
                reference[key, default: []].append(process)
            case 1:
                waiters.remove(process, space, socket)
                reference[key]?.removeAll { $0 == process }
            case 2:
                let sleeps = random.below(2) == 0
                waiters.setSleeping(process, sleeps)
                if sleeps { sleeping.insert(process) } else { sleeping.remove(process) }
            default:
                var found: [UInt32] = []
                waiters.forEachSleeper(space, socket) { found.append($0) }
                #expect(found.sorted() == (reference[key] ?? []).filter(sleeping.contains).sorted())
            }
        }
        #expect(waiters.count == reference.values.reduce(0) { $0 + $1.count })
    }
}
