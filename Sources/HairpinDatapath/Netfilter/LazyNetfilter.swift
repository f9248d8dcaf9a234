import HairpinPolicy

/// The packet filter of a namespace, made when somebody first asks for it: most pods never have a rule, a virtual service or a setting of their own,
/// and a packet passes by a filter that is not there as it does by an empty one.
///
/// Raw memory: `deallocate` when done.
struct LazyNetfilter {
    private var filter: UnsafeMutablePointer<Netfilter>?

    func deallocate() {
        guard let filter else { return }
        filter.pointee.deallocate()
        filter.deinitialize(count: 1)
        filter.deallocate()
    }

    /// For reading and changing rules, services, settings and connections.
    var made: UnsafeMutablePointer<Netfilter> {
        mutating get {
            if let filter { return filter }
            let new = UnsafeMutablePointer<Netfilter>.allocate(capacity: 1)
            new.initialize(to: Netfilter())
            filter = new
            return new
        }
    }

    /// The filter, if somebody has asked for it.
    @inline(__always) var existing: UnsafeMutablePointer<Netfilter>? { filter }

    var policyDrops: [PolicyDropCount] { filter?.pointee.policies.drops ?? [] }

    // What packets meet; see `Netfilter`.

    @inline(__always) var isActive: Bool { filter?.pointee.isActive ?? false }
    @inline(__always) var chargesRules: Bool { filter?.pointee.ruleCost ?? 0 != 0 }
    func takeRuleTime() -> Int64 { filter?.pointee.takeRuleTime() ?? 0 }

    @inline(__always)
    func passes(_ place: HookPlace, _ frame: FrameHandle, _ pool: inout FramePool, now: UInt64) -> Bool {
        filter?.pointee.passes(place, frame, &pool, now: now) ?? true
    }
    /// Where `passes` has no answer.
    func runTables<E: NetfilterEnvironment>(_ place: HookPlace, _ frame: FrameHandle, _ pool: inout FramePool, _ env: inout E) -> HookVerdict {
        filter?.pointee.runTables(place, frame, &pool, &env) ?? .accept
    }
    func release(_ frame: FrameHandle, _ pool: inout FramePool) { filter?.pointee.release(frame, &pool) }
    func retain(_ frame: FrameHandle, _ pool: inout FramePool) { filter?.pointee.retain(frame, &pool) }
    func interfacesChanged() { filter?.pointee.interfacesChanged() }
}
