import HairpinEngine
import HairpinTopology

/// The faults of a scenario as a list of moments at which cables change.
struct FaultPlan {
    /// A cable: both of its ends, as (host, interface).
    private struct Cable {
        var ends: [(host: String, interface: String)]
        var faults: [Fault]
    }
    private var cables: [Cable] = []
    /// Moments at which something begins or ends, in order.
    private(set) var moments: [Instant] = []

    /// Finds the cables; a fault the host layer cannot play is an error here, not silence later.
    init(_ scenario: Scenario, in world: World) throws(Failure) {
        var names: [String: Int] = [:]
        for fault in scenario.faults {
            if case .delay = fault.effect {
                throw Failure(
                    .input,
                    "\(fault.position): a fault cannot change the delay of a cable yet. Use \"loss\" or \"down\", or set spec.cluster.links.node.delay for the whole run."
                )
            }
            let target: CommandTarget
            do { target = try world.resolve(fault.link, container: nil, ahead: true) } catch { throw Failure(.input, "\(fault.position): link: \(error)") }
            // A StatefulSet's pods of one name have a cable each.
            let incarnations = world.pods.filter { $0.pod.key == target.pod?.pod.key }.map(\.pod.hostName)
            for host in incarnations.isEmpty ? [target.host] : incarnations {
                let eth0 = world.topology.hosts.first { $0.name == host }?.interfaces.first { $0.name == "eth0" }
                guard case .veth(let peerHost, let peerInterface)? = eth0?.kind else {
                    throw Failure(.input, "\(fault.position): \(fault.link) has no cable: the only node of a cluster is connected to nothing. Add a second node or a host.")
                }
                if names[host] == nil {
                    names[host] = cables.count
                    cables.append(Cable(ends: [(host, "eth0"), (peerHost, peerInterface)], faults: []))
                }
                if let place = names[host] { cables[place].faults.append(fault) }
            }
            moments.append(fault.at)
            if let duration = fault.duration { moments.append(fault.at + duration) }
        }
        moments.sort()
    }

    /// Brings the cables into the state of `now`.
    mutating func apply(_ now: Instant, to world: World) throws(Failure) {
        moments.removeAll { $0 <= now }
        for cable in cables {
            var loss: UInt32 = 0
            var isCut = false
            for fault in cable.faults where fault.at <= now && fault.duration.map({ now < fault.at + $0 }) ?? true {
                switch fault.effect {
                case .loss(let ratio): loss = max(loss, ratio.billionths)  // of several losses at once the greatest counts
                case .down: isCut = true
                case .delay: break
                }
            }
            for end in cable.ends {
                guard world.simulation.setFault(host: end.host, interface: end.interface, lossPerBillion: loss, isCut: isCut) else {
                    throw Failure(.internalFault, "\(end.host) has no interface \(end.interface)")
                }
            }
        }
    }
}
