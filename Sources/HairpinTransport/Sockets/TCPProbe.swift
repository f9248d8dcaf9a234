import HairpinEngine
import HairpinWire

/// A line of the trace of connections: what the kernel's tracepoint tcp:tcp_probe shows (include/trace/events/tcp.h), and what congestion control and
/// recovery know besides. Windows in segments, times in µs unless said otherwise.
public struct TCPProbeRecord: Sendable {
    public enum Event: UInt8, Sendable {
        /// A segment arrived and has been worked off.
        case segment
        /// A segment is sent again, by whatever cause; `sequence` and `length` are its own.
        case retransmit
        /// A timer has expired, and what it causes has been done.
        case timeout, lossProbe, reordering, windowProbe

        /// As the trace file names it.
        public var word: String {
            switch self {
            case .segment: "segment"
            case .retransmit: "retransmit"
            case .timeout: "rto"
            case .lossProbe: "tlp"
            case .reordering: "reo"
            case .windowProbe: "probe0"
            }
        }
    }

    /// Nanoseconds of virtual time.
    public var time: UInt64
    /// Which stack wrote it, by the number given to `TransportStack.trace`.
    public var origin: UInt32
    public var event: Event
    /// `enum tcp_ca_state`: 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss.
    public var ca_state: UInt8
    public var sourcePort: UInt16
    public var destinationPort: UInt16
    public var source: IPv4Address
    public var destination: IPv4Address
    public var sequence: UInt32
    public var length: UInt32
    public var snd_nxt: UInt32
    public var snd_una: UInt32
    public var snd_cwnd: UInt32
    /// `tcp_current_ssthresh`; 0x7fffffff while there is none.
    public var ssthresh: UInt32
    /// In bytes, as `rcv_wnd`.
    public var snd_wnd: UInt32
    /// The window last advertised (`tp->rcv_wnd`).
    public var rcv_wnd: UInt32
    public var srtt: UInt32
    public var rto: UInt32
    public var in_flight: UInt32
    public var sacked_out: UInt32
    public var lost_out: UInt32
    public var retrans_out: UInt32
    public var total_retrans: UInt32
    public var delivered: UInt32
    public var bytes_acked: UInt64

    static let infinite: UInt32 = 0x7fff_ffff

    /// The names of the columns `write` makes: the tracepoint's, then our own.
    public static let header =
        "time,host,event,src,dest,seq,data_len,snd_nxt,snd_una,snd_cwnd,ssthresh,snd_wnd,srtt,rcv_wnd,in_flight,ca_state,sacked_out,lost_out,retrans_out,total_retrans,rto,delivered,bytes_acked"

    /// A line of CSV; the time in seconds with nine decimals.
    public func write(to bytes: inout [UInt8], host: String) {
        let second: UInt64 = 1_000_000_000
        bytes.append(contentsOf: "\(time / second).\(String(second + time % second).dropFirst()),\(host),\(event.word)".utf8)
        bytes.append(contentsOf: ",\(source):\(sourcePort),\(destination):\(destinationPort)".utf8)
        for value in [
            sequence, length, snd_nxt, snd_una, snd_cwnd, ssthresh, snd_wnd, srtt, rcv_wnd, in_flight, UInt32(ca_state), sacked_out, lost_out, retrans_out,
            total_retrans, rto, delivered,
        ] {
            bytes.append(UInt8(ascii: ","))
            bytes.append(contentsOf: String(value).utf8)
        }
        bytes.append(contentsOf: ",\(bytes_acked)\n".utf8)
    }
}

/// Where stacks write what is traced, in the order in which it happens. It belongs to whoever runs the stacks, and is used by one thread at a time.
public final class TCPProbeLog {
    /// Connections with one of these ports at either end; all of them if there are none (`port` of the kernel's old module tcp_probe).
    public let ports: Set<UInt16>
    /// False: only when the congestion window has changed since the connection's last line, as with `full=0` of that module.
    public let isFull: Bool
    public private(set) var records: [TCPProbeRecord] = []
    private var windows: [UInt64: UInt32] = [:]

    public init(ports: Set<UInt16> = [], isFull: Bool = true) {
        self.ports = ports
        self.isFull = isFull
    }

    fileprivate func append(_ record: TCPProbeRecord, socket: UInt32) {
        if !ports.isEmpty, !ports.contains(record.sourcePort), !ports.contains(record.destinationPort) { return }
        if !isFull, windows.updateValue(record.snd_cwnd, forKey: UInt64(record.origin) << 32 | UInt64(socket)) == record.snd_cwnd { return }
        records.append(record)
    }

    /// Takes what happened up to and including `time`.
    public func take(upTo time: Instant) -> [TCPProbeRecord] {
        guard let last = records.last, last.time > time.nanoseconds else {
            defer { records.removeAll(keepingCapacity: true) }
            return records
        }
        let count = records.firstIndex { $0.time > time.nanoseconds } ?? records.count
        let taken = Array(records[..<count])
        records.removeFirst(count)
        return taken
    }
}

extension TransportStack {
    /// Writes a record for each segment that arrives on a connection, each retransmission and each timer from now on; nil stops. `origin` tells the stacks
    /// that share a log apart.
    public func trace(into log: TCPProbeLog?, as origin: UInt32 = 0) {
        probe = log.map { (log: $0, origin: origin) }
        isProbed = log != nil
    }

    @inline(never)
    func probeArrival(_ e: EndpointPointer, _ segment: Segment) { probe(e, .segment, sequence: segment.sequence, length: segment.payload.count) }

    @inline(never)
    func probe(_ e: EndpointPointer, _ timer: RetransmitTimer) {
        let event: TCPProbeRecord.Event
        switch timer {
        case .none: return
        case .retransmission: event = .timeout
        case .lossProbe: event = .lossProbe
        case .reordering: event = .reordering
        case .windowProbe: event = .windowProbe
        }
        probe(e, event, sequence: e.pointee.unacknowledged, length: 0)
    }

    /// Nothing of listeners and of what is gone.
    @inline(never)
    func probe(_ e: EndpointPointer, _ event: TCPProbeRecord.Event, sequence: SequenceNumber, length: Int) {
        guard let probe, e.pointee.slot != 0 else { return }
        switch e.pointee.state {
        case .closed, .listen, .timeWait: return
        default: break
        }
        let record = TCPProbeRecord(
            time: now.nanoseconds, origin: probe.origin, event: event, ca_state: UInt8(e.pointee.phase.kernelNumber), sourcePort: e.pointee.localPort,
            destinationPort: e.pointee.remotePort, source: e.pointee.localAddress, destination: e.pointee.remoteAddress, sequence: sequence.rawValue,
            length: UInt32(length), snd_nxt: e.pointee.sendNext.rawValue, snd_una: e.pointee.unacknowledged.rawValue, snd_cwnd: e.pointee.window,
            ssthresh: min(currentThreshold(e), TCPProbeRecord.infinite), snd_wnd: e.pointee.sendWindow, rcv_wnd: e.pointee.receiveWindow,
            srtt: e.cold.pointee.smoothedRTT >> 3, rto: UInt32(clamping: UInt64(e.pointee.retransmitTimeout) * TimerWheel.tick / 1000),
            in_flight: UInt32(clamping: e.pointee.inFlight), sacked_out: e.pointee.sackedOut, lost_out: e.pointee.lostOut, retrans_out: e.pointee.retransOut,
            total_retrans: e.cold.pointee.totalRetransmissions, delivered: e.cold.pointee.delivered, bytes_acked: e.cold.pointee.bytesAcknowledged)
        probe.log.append(record, socket: e.pointee.socket.rawValue)
    }
}
