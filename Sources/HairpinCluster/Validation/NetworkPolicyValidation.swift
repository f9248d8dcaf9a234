/// `ValidateNetworkPolicy` (pkg/apis/networking/validation).
extension ObjectValidation {
    @Sendable static func networkPolicy(_ policy: ObjectField) {
        let spec = policy["spec"]
        selector(spec["podSelector"])
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec[direction].items {
                for port in rule["ports"].items { policyPort(port) }
                for peer in rule[peers].items { policyPeer(peer) }
            }
        }
        let types = spec["policyTypes"]
        if types.items.count > 2 { return types.invalid("may not specify more than two policyTypes") }
        for type in types.items where !["Ingress", "Egress"].contains(type.text) { type.unsupported(among: ["Ingress", "Egress"]) }
    }

    private static func policyPort(_ port: ObjectField) {
        let (number, end) = (port["port"], port["endPort"])
        if port["protocol"].isSet, !protocols.contains(port["protocol"].text) { port["protocol"].unsupported(among: ["TCP", "UDP", "SCTP"]) }
        guard number.isSet else {
            if end.isSet { end.invalid("may not be specified when `port` is not specified") }
            return
        }
        switch number.intOrString {
        case .int(let first):
            portNumberOrName(number, .int(first))
            guard end.isSet else { return }
            if end.number < first { end.invalid("must be greater than or equal to `port`") }
            end.invalid(Formats.portNumber(end.number))
        case .text(let name):
            if end.isSet { end.invalid("may not be specified when `port` is non-numeric") }
            portNumberOrName(number, .text(name))
        }
    }

    private static func policyPeer(_ peer: ObjectField) {
        let (pods, namespaces, block) = (peer["podSelector"], peer["namespaceSelector"], peer["ipBlock"])
        selector(pods)
        selector(namespaces)
        if block.isSet { addressBlock(block) }
        if !pods.isSet, !namespaces.isSet, !block.isSet {
            peer.required("must specify a peer", fix: "Add podSelector, namespaceSelector or ipBlock; leave the list out to mean everyone.")
        } else if block.isSet, pods.isSet || namespaces.isSet {
            peer.forbidden("may not specify both ipBlock and another peer", fix: "Write the ipBlock as a list item of its own, which begins with \"- \".")
        }
    }

    /// `ValidateIPBlock`. Bits after a prefix's length are only warned of.
    private static func addressBlock(_ block: ObjectField) {
        let cidr = block["cidr"]
        if cidr.text.isEmpty { return cidr.required() }
        guard let whole = cidr.validPrefix() else { return }
        for hole in block["except"].items {
            guard let prefix = hole.validPrefix() else { continue }
            if !prefix.isStrictlyWithin(whole) { hole.invalid("must be a strict subset of `cidr`") }
        }
    }
}
