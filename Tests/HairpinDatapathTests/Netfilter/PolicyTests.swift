import HairpinEngine
import HairpinPolicy
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("Network policies at the bridge")
struct PolicyTests {
    /// Two pods on one bridge whose frames meet the filter.
    private func world() -> World {
        let world = World(pods: 2)
        world.process.setSysctl("net.bridge.bridge-nf-call-iptables", "1", namespace: world.node)
        return world
    }
    /// The second pod isolated for ingress, or the first for egress.
    private func table(_ world: World, _ direction: PolicyDirection, rules: [PolicyRule] = []) -> PolicyTable {
        var pods = world.pods.enumerated().map { PolicyPod(name: "default/pod\($0 + 1)", address: $1.address, node: "node1") }
        let isolation = PolicyIsolation(policies: [0], rules: rules)
        if direction == .ingress { pods[1].ingress = isolation } else { pods[0].egress = isolation }
        return PolicyTable(policies: ["default/deny"], pods: pods)
    }
    /// Replies that came back to the first pod.
    private func answers(_ world: World) -> Int {
        world.delivered.filter { $0.namespace == world.pods[0].namespace && $0.packet[20] == ICMPv4.echoReply }.count
    }
    private func ping(_ world: World) -> Bool {
        let before = answers(world)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.milliseconds(10))
        return answers(world) > before
    }

    @Test("A refused frame ends at the pod's own port, and the count names policy, pod and side", arguments: PolicyDirection.allCases)
    func refused(direction: PolicyDirection) {
        let world = world()
        #expect(ping(world))
        world.process.setPolicies(table(world, direction), style: .drop, namespace: world.node)
        let port = world.pods[direction == .egress ? 0 : 1].port
        #expect(!ping(world))
        #expect(world.drops == [direction == .egress ? .networkPolicyEgress : .networkPolicyIngress])
        #expect(world.dropPlaces == [port])
        #expect(
            world.process.policyDrops(namespace: world.node) == [
                PolicyDropCount(direction: direction, policies: "default/deny", pod: direction == .egress ? "default/pod1" : "default/pod2", packets: 1)
            ])
        // Without policies again.
        world.process.setPolicies(PolicyTable(), style: .drop, namespace: world.node)
        #expect(ping(world))
        #expect(world.process.frameBooks.isBalanced)
    }

    @Test("Replies pass though their pod may not send; the other way round it may not begin")
    func replies() {
        let world = world()
        var pods = world.pods.enumerated().map { PolicyPod(name: "default/pod\($0 + 1)", address: $1.address, node: "node1") }
        pods[1].egress = PolicyIsolation(policies: [0], rules: [])
        world.process.setPolicies(PolicyTable(policies: ["default/deny"], pods: pods), style: .drop, namespace: world.node)
        #expect(ping(world))
        world.ping(from: 1, to: world.pods[0].address)
        world.runFor(.milliseconds(10))
        #expect(world.drops == [.networkPolicyEgress])
    }

    @Test("The node's own packets to its pods are not policed")
    func node() {
        let world = world()
        world.process.setPolicies(table(world, .ingress), style: .drop, namespace: world.node)
        world.ping(from: 1, to: IPv4Address(10, 244, 0, 1))
        world.runFor(.milliseconds(10))
        #expect(world.delivered.contains { $0.namespace == world.pods[1].namespace && $0.packet[20] == ICMPv4.echoReply })
    }

    @Test("Rejected, the sender is told: ICMP administratively prohibited")
    func rejected() {
        let world = world()
        world.process.setPolicies(table(world, .ingress), style: .reject, namespace: world.node)
        #expect(!ping(world))
        #expect(world.errors.map(\.type) == [ICMPv4.destinationUnreachable] && world.errors.map(\.code) == [ICMPv4.adminProhibited])
        #expect(world.errors.map(\.namespace) == [world.pods[0].namespace])
    }
}
