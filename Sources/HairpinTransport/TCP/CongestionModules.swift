import HairpinEngine
import HairpinWire

/// Which congestion control a connection has, and what the others do at the points where the kernel calls `struct tcp_congestion_ops`. Reno and CUBIC
/// are in `Congestion.swift` and `Cubic.swift`.
///
/// `net.ipv4.tcp_available_congestion_control`, and what DCTCP falls back to.
public enum CongestionControl: String, Sendable, CaseIterable {
    case cubic, reno, bbr, dctcp
    /// DCTCP on a connection without ECN: Reno. Nobody can ask for it.
    case dctcpReno = "dctcp-reno"

    /// By the name a program or sysctl(8) gives; nil if there is no such module.
    public init?(selectable name: String) {
        guard let algorithm = CongestionControl(rawValue: name), algorithm != .dctcpReno else { return nil }
        self = algorithm
    }
}

/// What getsockopt(TCP_CC_INFO) tells of a connection's congestion control (`union tcp_cc_info`).
public enum CongestionInformation: Sendable, Hashable {
    /// In bytes a second, µs and 1/256 (`tcp_bbr_info`).
    case bbr(bandwidth: UInt64, minimumRTT: UInt32, pacingGain: Int, windowGain: Int)
    /// Alpha in 1/1024, the last two in bytes of the present observation window (`tcp_dctcp_info`). Not enabled: fallen back to Reno.
    case dctcp(isEnabled: Bool, ceState: Int, alpha: Int, markedBytes: Int, totalBytes: Int)

    /// By the names of the kernel's structures.
    public var fields: [String: Int] {
        switch self {
        case .bbr(let bandwidth, let minimumRTT, let pacingGain, let windowGain):
            [
                "bbr_bw_lo": Int(bandwidth & 0xffff_ffff), "bbr_bw_hi": Int(bandwidth >> 32), "bbr_min_rtt": Int(minimumRTT), "bbr_pacing_gain": pacingGain,
                "bbr_cwnd_gain": windowGain,
            ]
        case .dctcp(let isEnabled, let ceState, let alpha, let markedBytes, let totalBytes):
            [
                "dctcp_enabled": isEnabled ? 1 : 0, "dctcp_ce_state": ceState, "dctcp_alpha": alpha, "dctcp_ab_ecn": markedBytes,
                "dctcp_ab_tot": totalBytes,
            ]
        }
    }
    /// The names `fields` can have.
    public static let names: Set<String> = Set(
        CongestionInformation.bbr(bandwidth: 0, minimumRTT: 0, pacingGain: 0, windowGain: 0).fields.keys
    ).union(CongestionInformation.dctcp(isEnabled: false, ceState: 0, alpha: 0, markedBytes: 0, totalBytes: 0).fields.keys)
}

extension TransportStack {
    /// The connection can transfer (`tcp_init_congestion_control`).
    func startCongestionControl(_ e: EndpointPointer) {
        e.cold.pointee.priorThreshold = 0
        startCubic(e)
        switch e.cold.pointee.congestion {
        case .bbr: startBBR(e)
        case .dctcp: startDCTCP(e)
        case .cubic, .reno, .dctcpReno: break
        }
    }

    /// TCP_CONGESTION on a socket in any state (`tcp_set_congestion_control`, `tcp_reinit_congestion_control`).
    func changeCongestionControl(_ e: EndpointPointer, _ algorithm: CongestionControl) {
        guard e.cold.pointee.congestion != algorithm else { return }
        e.cold.pointee.congestion = algorithm
        switch e.pointee.state {
        case .closed, .listen: break
        default: startCongestionControl(e)
        }
    }

    /// TCP_CC_INFO; nil for modules that tell nothing, and for Reno.
    public func congestionInformation(_ socket: SocketID) -> CongestionInformation? {
        guard let e = table.stream(socket) else { return nil }
        switch e.cold.pointee.congestion {
        case .cubic, .reno: return nil
        case .dctcpReno: return .dctcp(isEnabled: false, ceState: 0, alpha: 0, markedBytes: 0, totalBytes: 0)
        case .bbr:
            guard let modules = e.cold.pointee.modules else { return nil }
            let bbr = modules.pointee.bbr
            return .bbr(
                bandwidth: (bbr.presentRate &* UInt64(e.pointee.segmentSize) &* 1_000_000) >> BBR.rateShift, minimumRTT: bbr.minimumRTT,
                pacingGain: Int(bbr.pacingGain), windowGain: Int(bbr.windowGain))
        case .dctcp:
            guard let modules = e.cold.pointee.modules else { return nil }
            let state = modules.pointee.dctcp
            let segment = Int(e.pointee.segmentSize)
            return .dctcp(
                isEnabled: true, ceState: state.isMarked ? 1 : 0, alpha: Int(state.alpha),
                markedBytes: Int(e.cold.pointee.deliveredMarked &- state.oldMarked) * segment, totalBytes: Int(e.cold.pointee.delivered &- state.oldDelivered) * segment)
        }
    }
}
