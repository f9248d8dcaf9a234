import HairpinTransport
import HairpinWire

/// nstat(8) of iproute2 and `netstat -s` of net-tools: the counters of the pod's network namespace, under the kernel's names.
enum KernelCounters {
    /// Where nstat keeps what it showed last (`/tmp/.nstat.u0` of root).
    private static let historyFile = "/tmp/.nstat.u0"

    /// `nstat [-a] [-s] [-r] [-n] [-z] [-j] [PATTERN…]`: what has changed since nstat was last asked; with -a since the beginning.
    static func nstat(_ arguments: [String]) -> any Program {
        Immediate { system in
            let options = Options(
                arguments, flags: "asrnzjphV", values: "",
                long: [("ignore", "a"), ("noupdate", "s"), ("reset", "r"), ("nooutput", "n"), ("zeros", "z"), ("json", "j"), ("pretty", "p"), ("help", "h"), ("version", "V")])
            if let unknown = options.unknown {
                system.writeError("nstat: invalid option -- '\(unknown.drop { $0 == "-" })'\n\(usage)")
                return 255
            }
            if options.has("h") {
                system.writeOutput(usage)
                return 0
            }
            if options.has("V") {
                system.writeOutput("nstat utility, iproute2-6.1.0\n")
                return 0
            }
            guard let statistics = system.transportStatistics() else {
                system.writeError("nstat: /proc/net/snmp: No such file or directory\n")
                return 1
            }
            var counters: [(name: String, value: Int)] = []
            for table in statistics.counterTables {
                // Gauges are no counters (`useless_number`).
                for counter in table.counters where counter.name != "CurrEstab" { counters.append((table.name + counter.name, counter.value)) }
            }
            var before: [String: Int] = [:]
            if !options.has("a"), !options.has("r"), let bytes = system.readFile(historyFile) {
                for line in lines(text(bytes)) {
                    let words = line.split(separator: " ")
                    if words.count >= 2, let value = Int(words[1]) { before[String(words[0])] = value }
                }
            }
            if !options.has("s") {
                let history = counters.map { "\($0.name) \($0.value)\n" }.joined()
                _ = system.writeFile(historyFile, Array(("#kernel\n" + history).utf8), append: false)
            }
            if options.has("n") { return 0 }
            let patterns = options.operands.map { WildcardPattern($0) }
            var shown: [(name: String, value: Int)] = []
            for counter in counters {
                let value = counter.value - (before[counter.name] ?? 0)
                if value == 0, !options.has("z") { continue }
                if !patterns.isEmpty, !patterns.contains(where: { $0.matches(counter.name) }) { continue }
                shown.append((counter.name, value))
            }
            if options.has("j") {
                system.writeOutput("{\"kernel\":{" + shown.map { "\"\($0.name)\":\($0.value)" }.joined(separator: ",") + "}}\n")
            } else {
                system.writeOutput("#kernel\n")
                for counter in shown { system.writeOutput("\(padded(counter.name, 32))\(padded(String(counter.value), 16))\(leftPadded("0.0", 6))\n") }
            }
            return 0
        }
    }

    private static let usage = """
        Usage: nstat [OPTION] [ PATTERN [ PATTERN ] ]
           -h, --help          this message
           -a, --ignore        ignore history
           -j, --json          format output in JSON
           -n, --nooutput      do history only
           -r, --reset         reset history
           -s, --noupdate      don't update history
           -V, --version       output version information
           -z, --zeros         show entries with zero activity

        """

    /// The sentences net-tools 2.10 has for counters; `%` stands for the number. A counter without one is shown by its name.
    private static let sentences: [String: String] = [
        "ActiveOpens": "% active connection openings", "PassiveOpens": "% passive connection openings", "AttemptFails": "% failed connection attempts",
        "EstabResets": "% connection resets received", "CurrEstab": "% connections established", "InSegs": "% segments received", "OutSegs": "% segments sent out",
        "RetransSegs": "% segments retransmitted", "InErrs": "% bad segments received", "OutRsts": "% resets sent",
        "InDatagrams": "% packets received", "NoPorts": "% packets to unknown port received", "InErrors": "% packet receive errors", "OutDatagrams": "% packets sent",
        "RcvbufErrors": "% receive buffer errors",
        "DelayedACKs": "% delayed acks sent", "EmbryonicRsts": "% resets received for embryonic SYN_RECV sockets", "ListenDrops": "% SYNs to LISTEN sockets dropped",
        "ListenOverflows": "% times the listen queue of a socket overflowed", "PAWSEstab": "% packets rejected in established connections because of timestamp",
        "PruneCalled": "% packets pruned from receive queue because of socket buffer overrun", "TCPAbortOnClose": "% connections reset due to early user close",
        "TCPAbortOnData": "% connections reset due to unexpected data", "TCPAbortOnLinger": "% connections aborted after user close in linger timeout",
        "TCPAbortOnTimeout": "% connections aborted due to timeout", "TCPFastRetrans": "% fast retransmits",
        "TCPFullUndo": "% congestion windows fully recovered without slow start", "TCPLossFailures": "% timeouts in loss state",
        "TCPLossUndo": "% congestion windows recovered without slow start after partial ack",
        "TCPPartialUndo": "% congestion windows partially recovered using Hoe heuristic", "TCPRenoFailures": "% timeouts after reno fast retransmit",
        "TCPRenoRecovery": "% times recovered from packet loss due to fast retransmit", "TCPSlowStartRetrans": "% retransmits in slow start",
        "TW": "% TCP sockets finished time wait in fast timer", "TWRecycled": "% time wait sockets recycled by time stamp",
        "TCPRenoReorder": "Detected reordering % times using reno fast retransmit", "TCPSACKReorder": "Detected reordering % times using SACK",
        "TCPTSReorder": "Detected reordering % times using time stamp", "DelayedACKLost": "Quick ack mode was activated % times",
    ]

    /// What net-tools shows even if it is zero.
    private static let always: Set<String> = [
        "ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "CurrEstab", "InSegs", "OutSegs", "RetransSegs", "InErrs", "OutRsts", "InDatagrams", "NoPorts",
        "InErrors", "OutDatagrams", "RcvbufErrors",
    ]

    static func summary(_ system: any SystemCalls, tcpOnly: Bool, udpOnly: Bool) -> Int32 {
        guard let statistics = system.transportStatistics() else {
            system.writeError("error parsing /proc/net/snmp: No such file or directory\n")
            return 1
        }
        for table in statistics.counterTables {
            let isUDP = table.name == "Udp"
            if tcpOnly != udpOnly, isUDP != udpOnly { continue }
            system.writeOutput("\(table.name):\n")
            for counter in table.counters where counter.value != 0 || always.contains(counter.name) {
                if let sentence = sentences[counter.name], let place = sentence.firstIndex(of: "%") {
                    system.writeOutput("    \(sentence[..<place])\(counter.value)\(sentence[sentence.index(after: place)...])\n")
                } else {
                    system.writeOutput("    \(counter.name): \(counter.value)\n")
                }
            }
        }
        return 0
    }
}
