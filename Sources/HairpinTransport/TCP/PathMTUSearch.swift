import HairpinEngine
import HairpinWire

/// Packetization layer path MTU discovery (RFC 4821, `tcp_mtu_probe`): a larger segment out of data that has to go anyway, and its acknowledgment, tell
/// whether the path carries it; ICMP is not needed. With `tcp_mtu_probing` 2 from the start, with 1 after timeouts that a black hole may be behind.
/// Sizes are of whole IP packets.
struct PathMTUSearch: BitwiseCopyable {
    /// `icsk_mtup.enabled`
    var isOn = false
    /// What is known to pass, and what may.
    var low = 0
    var high = 0
    /// Of the probe that is out; zero: none is.
    var probeSize = 0
    var probeStart = SequenceNumber(0)
    var probeEnd = SequenceNumber(0)
    /// Jiffies when the search began.
    var since: UInt64 = 0
}

extension TransportStack {
    private func optionsOfAll(_ e: EndpointPointer) -> Int { e.pointee.flags.contains(.timestamps) ? OptionSize.timestamps : 0 }

    /// `tcp_mtu_to_mss`
    func segmentSize(_ e: EndpointPointer, ofMTU mtu: Int) -> Int {
        max(min(mtu - 40, Int(e.cold.pointee.segmentClamp)) - optionsOfAll(e), settings.tcp_min_snd_mss)
    }

    /// `tcp_mss_to_mtu`
    private func mtu(_ e: EndpointPointer, ofSegment segment: Int) -> Int { segment + optionsOfAll(e) + 40 }

    /// The connection is up (`tcp_mtup_init`); before the sending MSS is settled.
    func startMTUSearch(_ e: EndpointPointer) {
        guard settings.tcp_mtu_probing > 1 else { return }
        beginMTUSearch(e)
    }

    private func beginMTUSearch(_ e: EndpointPointer) {
        let modules = requireModules(e)
        modules.pointee.search = PathMTUSearch()
        modules.pointee.search.isOn = true
        modules.pointee.search.high = min(Int(e.cold.pointee.segmentClamp) + 40, Int(e.cold.pointee.pathMTU))
        modules.pointee.search.low = mtu(e, ofSegment: settings.tcp_base_mss)
        modules.pointee.search.since = TimerWheel.jiffies(now)
    }

    /// The sending MSS goes no further than what is known to pass (`tcp_sync_mss`).
    func boundToSearch(_ e: EndpointPointer, _ size: Int) -> Int {
        guard let modules = e.cold.pointee.modules, modules.pointee.search.isOn else { return size }
        modules.pointee.search.high = min(modules.pointee.search.high, Int(e.cold.pointee.pathMTU))
        return min(size, segmentSize(e, ofMTU: modules.pointee.search.low))
    }

    enum MTUProbe { case none, wait, sent }

    /// Sends a probe if this is a time for one (`tcp_mtu_probe`). `wait`: there is data for one, but the windows must open first.
    func probePathMTU(_ e: EndpointPointer, _ modules: SenderModulesPointer) -> MTUProbe {
        let search = modules.pointee.search
        guard search.isOn, search.probeSize == 0, e.pointee.phase == .open, e.pointee.window >= 11, e.cold.pointee.outOfOrder.count == 0,
            !e.pointee.flags.contains(.duplicateSACK)
        else { return .none }
        let size = segmentSize(e, ofMTU: (search.high + search.low) >> 1)
        let needed = size + (reorderingDegree(e) + 1) * Int(e.pointee.segmentSize)
        guard size <= segmentSize(e, ofMTU: search.high), search.high - search.low >= settings.tcp_probe_threshold else {
            renewSearch(e, modules)
            return .none
        }
        guard e.pointee.unsent >= needed, Int(e.pointee.sendWindow) >= needed else { return .none }
        if (e.pointee.sendNext + needed).isAfter(e.pointee.windowEnd) { return .wait }
        // The lost probe is two segments, and with nothing in flight nobody would open the window.
        if e.pointee.inFlight + 2 > Int(e.pointee.window) { return e.pointee.inFlight == 0 ? .none : .wait }
        guard joinsFront(e, size), !waitsForPacing(e) else { return .none }
        sendProbe(e, count: size)
        guard e.pointee.state != .closed else { return .sent }
        e.pointee.window -= 1
        modules.pointee.search.probeSize = mtu(e, ofSegment: size)
        modules.pointee.search.probeStart = e.pointee.sendNext - size
        modules.pointee.search.probeEnd = e.pointee.sendNext
        return .sent
    }

    /// The packets at the front of the queue may be joined up to `size` bytes (`tcp_can_coalesce_send_queue_head`).
    private func joinsFront(_ e: EndpointPointer, _ size: Int) -> Bool {
        var start = e.pointee.sendNext
        var left = size
        for i in 0..<e.cold.pointee.queue.count {
            let packet = e.cold.pointee.queue[i]
            let length = packet.end - start
            if left <= length { return true }
            if packet.marks & (QueuedPacket.endOfRecord | QueuedPacket.stamped) != 0 { return false }
            left -= length
            start = packet.end
        }
        return false
    }

    /// A search that came to its end begins again after `tcp_probe_interval`, from the MSS it had found (`tcp_mtu_check_reprobe`).
    private func renewSearch(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        let jiffies = TimerWheel.jiffies(now)
        guard jiffies &- modules.pointee.search.since >= TimerWheel.ticks(settings.tcp_probe_interval) else { return }
        modules.pointee.search.probeSize = 0
        modules.pointee.search.high = Int(e.cold.pointee.segmentClamp) + 40
        modules.pointee.search.low = mtu(e, ofSegment: currentSegment(e))
        modules.pointee.search.since = jiffies
    }

    /// All of the probe is acknowledged: its size is the new MSS, and the window counts in it (`tcp_mtup_probe_success`).
    func concludeProbe(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        let probe = modules.pointee.search.probeSize
        guard probe != 0, !modules.pointee.search.probeEnd.isAfter(e.pointee.unacknowledged) else { return }
        e.cold.pointee.priorThreshold = currentThreshold(e)
        e.pointee.window = max(1, UInt32(Int(e.pointee.window) * mtu(e, ofSegment: Int(e.pointee.segmentSize)) / probe))
        e.cold.pointee.windowCount = 0
        e.cold.pointee.windowStamp = TimerWheel.jiffies(now)
        e.cold.pointee.slowStartThreshold = currentThreshold(e)
        modules.pointee.search.low = probe
        modules.pointee.search.probeSize = 0
        synchronizeSegment(e)
    }

    /// Something is lost: if it is the probe, that is no congestion. It goes out again in pieces (`tcp_mtup_probe_failed`). True if it was.
    func losesProbe(_ e: EndpointPointer) -> Bool {
        guard let modules = e.cold.pointee.modules, modules.pointee.search.probeSize != 0, e.pointee.unacknowledged == modules.pointee.search.probeStart,
            e.pointee.phase == .open || e.pointee.phase == .disorder
        else { return false }
        modules.pointee.search.high = modules.pointee.search.probeSize - 1
        modules.pointee.search.probeSize = 0
        e.pointee.window += 1
        resendOversized(e)
        return true
    }

    /// Timeouts in a row: large segments may vanish without a word, so smaller ones are tried (`tcp_mtu_probing`; RFC 4821 §7.7).
    func doubtPath(_ e: EndpointPointer) {
        guard settings.tcp_mtu_probing > 0 else { return }
        if let modules = e.cold.pointee.modules, modules.pointee.search.isOn {
            var size = min(settings.tcp_base_mss, segmentSize(e, ofMTU: modules.pointee.search.low) >> 1)
            size = max(size, settings.tcp_mtu_probe_floor, settings.tcp_min_snd_mss)
            modules.pointee.search.low = mtu(e, ofSegment: size)
        } else {
            beginMTUSearch(e)
        }
        synchronizeSegment(e)
    }
}
