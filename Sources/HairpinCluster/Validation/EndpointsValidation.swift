/// `ValidateEndpoints` (pkg/apis/core/validation) and `ValidateEndpointSlice` (pkg/apis/discovery/validation).
extension ObjectValidation {
    @Sendable static func endpoints(_ endpoints: ObjectField) {
        for subset in endpoints["subsets"].items {
            let addresses = subset["addresses"].items + subset["notReadyAddresses"].items
            if addresses.isEmpty { subset.required("must specify `addresses` or `notReadyAddresses`") }
            for address in addresses {
                address["ip"].validAddress()
                if !address["hostname"].text.isEmpty { address["hostname"].invalid(Formats.label(address["hostname"].text)) }
                if address["nodeName"].isSet { address["nodeName"].invalid(Formats.subdomain(address["nodeName"].text)) }
                address["ip"].notSpecial()
            }
            let ports = subset["ports"].items
            for port in ports {
                let name = port["name"]
                if name.text.isEmpty { if ports.count > 1 { name.required() } } else { name.invalid(Formats.label(name.text)) }
                port["port"].invalid(Formats.portNumber(port["port"].number), value: .integer(port["port"].number))
                port["protocol"].oneOf(protocols)
                if port["appProtocol"].isSet { port["appProtocol"].invalid(Formats.qualifiedName(port["appProtocol"].text)) }
            }
        }
    }

    @Sendable static func endpointSlice(_ slice: ObjectField) {
        let type = slice["addressType"].text
        slice["addressType"].oneOf(["FQDN", "IPv4", "IPv6"], isRequired: true)
        let (endpoints, ports) = (slice["endpoints"], slice["ports"])
        if endpoints.items.count > 1000 {
            endpoints.tooMany(endpoints.items.count, atMost: 1000)
        } else {
            for endpoint in endpoints.items { self.endpoint(endpoint, type) }
        }
        if ports.items.count > 20_000 { return ports.tooMany(ports.items.count, atMost: 20_000) }
        var names: Set<String> = []
        for port in ports.items {
            let name = port["name"]
            if !name.text.isEmpty { name.invalid(Formats.label(name.text)) }
            if !names.insert(name.text).inserted { name.duplicate() }
            if port["protocol"].isSet, !protocols.contains(port["protocol"].text) { port["protocol"].unsupported(among: protocols) }
            if port["appProtocol"].isSet { port["appProtocol"].invalid(Formats.qualifiedName(port["appProtocol"].text)) }
        }
    }

    private static func endpoint(_ endpoint: ObjectField, _ type: String) {
        let addresses = endpoint["addresses"]
        let count = addresses.items.count
        if count == 0 { addresses.required("must contain at least 1 address") } else if count > 100 { addresses.tooMany(count, atMost: 100) }
        for address in addresses.items {
            switch type {
            case "IPv4", "IPv6":
                if let parsed = address.validAddress(), (parsed.v4 != nil) != (type == "IPv4") { address.invalid("must be an \(type) address") }
                address.notSpecial()
            case "FQDN":
                if let name = Formats.qualifiedDomain(address.text) { address.invalid(name.errors, value: .string(name.part)) } else { address.required() }
            default: break
            }
        }
        if endpoint["nodeName"].isSet { endpoint["nodeName"].invalid(Formats.subdomain(endpoint["nodeName"].text)) }
        let topology = endpoint["deprecatedTopology"]
        if topology.entries.count > 16 { topology.tooMany(topology.entries.count, atMost: 16) }
        labels(topology)
        if endpoint["hostname"].isSet { endpoint["hostname"].invalid(Formats.label(endpoint["hostname"].text)) }
        for (key, rule) in [("forZones", Formats.labelValue), ("forNodes", Formats.subdomain)] {
            let hints = endpoint["hints"][key]
            if hints.items.count > 8 { return hints.tooMany(hints.items.count, atMost: 8) }
            var seen: Set<String> = []
            for hint in hints.items {
                let name = hint["name"]
                if !seen.insert(name.text).inserted { name.duplicate() }
                name.invalid(rule(name.text))
            }
        }
    }
}
