import CProcessor

/// Virtual addresses and node ports, each with what packets to it are told, in one hash table of plain memory: of ten thousand Services a look-up reads
/// one cache line. It does not change once it is made.
///
/// Open addressing with linear probing, at most half full.
final class FrontendTable: @unchecked Sendable {
    /// A virtual address and port, or a node port (address zero).
    struct Frontend {
        let high: UInt64, low: UInt64
        var choice: ServiceTable.Choice
        let port: UInt16
        /// Zero: nobody's place.
        let proto: UInt8
        let kind: Kind

        @inline(__always) var entry: UInt32 { choice.entry }
        @inline(__always)
        func isFor(_ high: UInt64, _ low: UInt64, _ port: UInt16, _ proto: UInt8) -> Bool {
            self.low == low && self.port == port && self.proto == proto && self.high == high
        }
    }
    enum Kind: UInt8 { case cluster, external, loadBalancer, nodePort }

    /// A cache line.
    private static let stride = 64
    private let places: UnsafeMutableRawPointer
    private let mask: Int

    /// Of two that claim the same address and port the first has it.
    init(_ frontends: [Frontend]) {
        precondition(MemoryLayout<Frontend>.size <= FrontendTable.stride)
        var count = 8
        while count < 2 * frontends.count { count *= 2 }
        mask = count - 1
        places = FrontendTable.allocate(count)
        places.initializeMemory(as: UInt64.self, repeating: 0, count: count * FrontendTable.stride / MemoryLayout<UInt64>.stride)
        for frontend in frontends {
            let place = place(of: frontend.high, frontend.low, frontend.port, frontend.proto)
            if place.pointee.proto == 0 { place.initialize(to: frontend) }
        }
    }

    /// A copy in which entries have other choices. Complexity: O(places), one copy of memory, and a look-up for every address of those that change.
    init(_ old: FrontendTable, changing changed: [(rules: ServicePortRules, choice: ServiceTable.Choice)]) {
        mask = old.mask
        places = FrontendTable.allocate(mask + 1)
        places.copyMemory(from: old.places, byteCount: (mask + 1) * FrontendTable.stride)
        for (rules, choice) in changed {
            for claim in rules.claims {
                let place = place(of: claim.address.high, claim.address.low, claim.port, rules.proto)
                if place.pointee.proto != 0, place.pointee.entry == choice.entry { place.pointee.choice = choice }
            }
        }
    }

    deinit { places.deallocate() }

    private static func allocate(_ count: Int) -> UnsafeMutableRawPointer { .allocate(byteCount: count * stride, alignment: stride) }

    @inline(__always)
    static func hash(_ high: UInt64, _ low: UInt64, _ port: UInt16, _ proto: UInt8) -> UInt64 {
        var x = low ^ UInt64(port) &<< 40 ^ UInt64(proto) &<< 56
        x = (x ^ high &* 0x9e37_79b9_7f4a_7c15) &* 0xbf58_476d_1ce4_e5b9
        x ^= x &>> 32
        x = x &* 0x94d0_49bb_1331_11eb
        return x ^ x &>> 29
    }

    /// Where it is, or the free place where it would be.
    @inline(__always)
    private func place(of high: UInt64, _ low: UInt64, _ port: UInt16, _ proto: UInt8) -> UnsafeMutablePointer<Frontend> {
        var number = Int(truncatingIfNeeded: FrontendTable.hash(high, low, port, proto)) & mask
        while true {
            let place = (places + number * FrontendTable.stride).assumingMemoryBound(to: Frontend.self)
            if place.pointee.proto == 0 || place.pointee.isFor(high, low, port, proto) { return place }
            number = (number + 1) & mask
        }
    }

    /// Asks for the cache line in which the search for an address begins.
    @inline(__always)
    func prefetch(_ high: UInt64, _ low: UInt64, _ port: UInt16, _ proto: UInt8) {
        hairpin_prefetch(places + (Int(truncatingIfNeeded: FrontendTable.hash(high, low, port, proto)) & mask) * FrontendTable.stride)
    }

    @inline(__always)
    func find(_ high: UInt64, _ low: UInt64, _ port: UInt16, _ proto: UInt8) -> Frontend? {
        guard proto != 0 else { return nil }
        let place = place(of: high, low, port, proto)
        return place.pointee.proto == 0 ? nil : place.pointee
    }
}

extension ServicePortRules {
    /// What the port answers at, in the order of kube-proxy's rules; a node port is claimed at address zero.
    var claims: [(address: ServiceAddress, port: UInt16, kind: FrontendTable.Kind)] {
        var claims = [(clusterAddress, port, FrontendTable.Kind.cluster)]
        for address in externalAddresses { claims.append((address, port, .external)) }
        for address in loadBalancerAddresses { claims.append((address, port, .loadBalancer)) }
        if nodePort != 0 { claims.append((ServiceAddress(high: 0, low: 0), nodePort, .nodePort)) }
        return claims
    }
}
