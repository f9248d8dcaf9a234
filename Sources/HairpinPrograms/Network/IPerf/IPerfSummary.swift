import HairpinEngine
import HairpinTransport
import HairpinWire

/// The end of a report: what the sender says it has sent, and the receiver it has received.
struct IPerfSummary {
    /// One end's account of a stream, from its own counters or from the other side's results.
    struct Side {
        var bytes = 0
        var seconds = 0.0
        var retransmits = -1
        var jitter = 0.0
        var lost = 0
        var packets = 0

        init() {}
        init(_ json: JSON) {
            /// What the other side says is added up: a number beyond all measure is none.
            func count(_ name: String) -> Int { json[name]?.int.flatMap { 0..<1 << 50 ~= $0 ? $0 : nil } ?? 0 }
            bytes = count("bytes")
            seconds = json["end_time"]?.double ?? 0
            retransmits = (json["retransmits"]?.int ?? -1) < 0 ? -1 : count("retransmits")
            jitter = json["jitter"]?.double ?? 0
            lost = count("errors")
            packets = count("packets")
        }
    }
    private let isUDP: Bool
    private let format: Character
    private var rows: [(stream: IPerfStream, sender: Side, receiver: Side)] = []
    private let senderCongestion: String?
    private let receiverCongestion: String?

    init(_ test: IPerfTest, own: JSON, other: JSON, format: Character) {
        isUDP = test.parameters.isUDP
        self.format = format
        let mine = own["streams"]?.items ?? []
        let theirs = other["streams"]?.items ?? []
        for (index, stream) in test.streams.enumerated() {
            let here = index < mine.count ? Side(mine[index]) : Side()
            let there = index < theirs.count ? Side(theirs[index]) : Side()
            rows.append((stream, test.sends ? here : there, test.sends ? there : here))
        }
        let names = (own["congestion_used"]?.string, other["congestion_used"]?.string)
        (senderCongestion, receiverCongestion) = test.sends ? (names.0, names.1) : (names.1, names.0)
    }

    private func sum(_ side: KeyPath<(stream: IPerfStream, sender: Side, receiver: Side), Side>) -> Side {
        var total = Side()
        for row in rows {
            let part = row[keyPath: side]
            total.bytes += part.bytes
            total.seconds = max(total.seconds, part.seconds)
            if part.retransmits >= 0 { total.retransmits = max(total.retransmits, 0) + part.retransmits }
            total.jitter += part.jitter / Double(rows.count)
            total.lost += part.lost
            total.packets += part.packets
        }
        return total
    }

    /// Both sides for the client, its own for the server.
    func text(sender: Bool = true, receiver: Bool = true) -> String {
        var text = IPerfReport.separator
        let hasRetransmits = sender && rows.contains { $0.sender.retransmits >= 0 }
        text += isUDP ? IPerfReport.datagramHeader : hasRetransmits ? IPerfReport.retransmitHeader : IPerfReport.header
        for row in rows {
            if sender { text += line(String(row.stream.number), row.sender, "sender") }
            if receiver { text += line(String(row.stream.number), row.receiver, "receiver") }
        }
        if rows.count > 1 {
            if sender { text += line("SUM", sum(\.sender), "sender") }
            if receiver { text += line("SUM", sum(\.receiver), "receiver") }
        }
        return text
    }

    private func line(_ label: String, _ side: Side, _ role: String) -> String {
        let start = IPerfReport.prefix(label, from: 0, to: side.seconds) + IPerfReport.rate(side.bytes, seconds: side.seconds, format)
        if isUDP {
            let isSender = role == "sender"
            let lost = isSender ? 0 : side.lost
            let jitter = isSender ? 0 : side.jitter * 1000
            return "\(start)  \(leftPadded(fixed(jitter, 3), 5)) ms  \(lost)/\(side.packets) (\(IPerfReport.percent(lost, of: side.packets))%)  \(role)\n"
        }
        if side.retransmits >= 0, role == "sender" { return "\(start)  \(leftPadded(side.retransmits, 3))             \(role)\n" }
        return "\(start)                  \(role)\n"
    }

    /// `end` of the JSON report.
    func json(sends: Bool) -> JSON {
        var list: [JSON] = []
        for row in rows {
            if isUDP {
                var members: [(String, JSON)] = [("socket", .int(row.stream.number))]
                members += account(row.sender, sends, datagrams: row.receiver)
                list.append(.make([("udp", .make(members + [("out_of_order", .int(row.stream.outOfOrder)), ("sender", .bool(sends))]))]))
                continue
            }
            var sender: [(String, JSON)] = [("socket", .int(row.stream.number))] + account(row.sender, true)
            if sends {
                let s = row.stream
                sender += [
                    ("max_snd_cwnd", .int(s.maximumWindow)), ("max_snd_wnd", .int(s.maximumPeerWindow)), ("max_rtt", .int(s.maximumRTT)), ("min_rtt", .int(s.minimumRTT)),
                    ("mean_rtt", .int(s.samples > 0 ? s.summedRTT / s.samples : 0)),
                ]
            }
            sender.append(("sender", .bool(sends)))
            let receiver: [(String, JSON)] = [("socket", .int(row.stream.number))] + account(row.receiver, false) + [("sender", .bool(sends))]
            list.append(.make([("sender", .make(sender)), ("receiver", .make(receiver))]))
        }
        var end: [(String, JSON)] = [("streams", .array(list))]
        let sent = sum(\.sender)
        let received = sum(\.receiver)
        if isUDP {
            end.append(("sum", .make(account(sent, sends, datagrams: received) + [("sender", .bool(sends))])))
        } else {
            end.append(("sum_sent", .make(account(sent, true) + [("sender", .bool(sends))])))
            end.append(("sum_received", .make(account(received, false) + [("sender", .bool(sends))])))
        }
        // Processor time is not modelled.
        let names = ["host_total", "host_user", "host_system", "remote_total", "remote_user", "remote_system"]
        end.append(("cpu_utilization_percent", .make(names.map { ($0, .int(0)) })))
        if let senderCongestion { end.append(("sender_tcp_congestion", .string(senderCongestion))) }
        if let receiverCongestion { end.append(("receiver_tcp_congestion", .string(receiverCongestion))) }
        return .make(end)
    }

    private func account(_ side: Side, _ isSender: Bool, datagrams: Side? = nil) -> [(String, JSON)] {
        var members: [(String, JSON)] = [
            ("start", .int(0)), ("end", .double(side.seconds)), ("seconds", .double(side.seconds)), ("bytes", .int(side.bytes)),
            ("bits_per_second", .double(side.seconds > 0 ? Double(side.bytes) * 8 / side.seconds : 0)),
        ]
        if let datagrams {
            members += [
                ("jitter_ms", .double(datagrams.jitter * 1000)), ("lost_packets", .int(datagrams.lost)), ("packets", .int(side.packets)),
                ("lost_percent", .double(side.packets > 0 ? 100 * Double(datagrams.lost) / Double(side.packets) : 0)),
            ]
        } else if isSender, side.retransmits >= 0 {
            members.append(("retransmits", .int(side.retransmits)))
        }
        return members
    }
}
