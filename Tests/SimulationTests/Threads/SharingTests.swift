import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinPrograms
import HairpinTopology
import Testing

/// What hosts of different logical processes may have in common.
@Suite("What logical processes share")
struct SharingTests {
    private static func simulation(threads: Int = 2) throws -> Simulation {
        var configuration = SimulationConfiguration()
        configuration.threads = threads
        configuration.sharing = .evenly
        return try Simulation(Topology(hosts: ["a", "b"].map { HostDescription(name: $0, kind: .node) }), configuration: configuration)
    }

    @discardableResult
    private static func type(
        _ command: String, on host: String, in container: ContainerID, _ simulation: Simulation, _ observer: ((String, Bool) -> Void)? = nil
    ) -> ProcessHandle {
        let shell = CommandTable.program(named: "sh", arguments: ["-c", command])!
        return simulation.spawn(on: host, shell, arguments: ["sh", "-c", command], environment: ["PATH": "/bin"], in: container, observer: observer)
    }

    @Test("observers may share what they write to: they are told in the same order on any number of threads")
    func observers() throws {
        func told(threads: Int) throws -> [String] {
            let simulation = try Self.simulation(threads: threads)
            var lines: [String] = []
            for host in ["b", "a"] {
                Self.type("for i in 1 2 3 4 5; do echo \(host) $i; echo \(host) >&2; sleep 0.001; done", on: host, in: simulation.makeContainer(name: host), simulation) {
                    lines.append("\($0) \($1)")
                }
            }
            // Windows of no more than a millisecond: no cable limits them.
            for _ in 0..<50 { simulation.run(until: simulation.now + .milliseconds(1)) }
            #expect(simulation.threadCount == threads)
            #expect(threads == 1 || simulation.windowCounts.runsByOthers > 0)
            return lines
        }
        let one = try told(threads: 1)
        #expect(one.count == 20)
        for _ in 0..<5 { #expect(try told(threads: 2) == one) }
    }

    @Test("a volume that nobody writes to may be mounted anywhere")
    func readOnly() throws {
        let simulation = try Self.simulation()
        let volume = simulation.makeVolume()
        simulation.fill(volume, ["/motd": Array("hello\n".utf8)])
        let handles = ["a", "b"].map { host in
            Self.type("cat /config/motd", on: host, in: simulation.makeContainer(name: host, mounts: [("/config", volume, true)]), simulation)
        }
        simulation.run(until: simulation.now + .seconds(1))
        #expect(handles.map { String(decoding: $0.output, as: UTF8.self) } == ["hello\n", "hello\n"])
    }

    @Test("a container of two logical processes is refused")
    func container() async {
        await #expect(processExitsWith: .failure) {
            let simulation = try SharingTests.simulation(threads: 1)
            let container = simulation.makeContainer(name: "c")
            for host in ["a", "b"] { SharingTests.type("true", on: host, in: container, simulation) }
        }
    }

    @Test("so is a volume that one may write to while another reads it")
    func volume() async {
        await #expect(processExitsWith: .failure) {
            let simulation = try SharingTests.simulation(threads: 1)
            let volume = simulation.makeVolume()
            for (host, isReadOnly) in [("a", true), ("b", false)] {
                SharingTests.type("true", on: host, in: simulation.makeContainer(name: host, mounts: [("/data", volume, isReadOnly)]), simulation)
            }
        }
    }

    @Test("with several threads, so is a tap's observer in two logical processes")
    func tap() async {
        await #expect(processExitsWith: .failure) {
            final class Nobody: TapObserver {
                func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) {}
                func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) {}
            }
            let simulation = try SharingTests.simulation()
            let observer = Nobody()
            for process in 0..<2 { simulation.attach(observer, process: process, interfaces: []) }
        }
    }
}
