import HairpinTransport
import HairpinWire

/// nstat(8) of iproute2 and `netstat -s` of net-tools: the counters of the pod's network namespace, under the kernel's names.
enum KernelCounters {
    /// Where nstat keeps what it showed last (`/tmp/.nstat.u0` of root).
    private static let historyFile = "/tmp/.nstat.u0"

    /// `nstat [-a] [-s] [-r] [-n] [-z] [-j] [PATTERN…]`: what has changed since nstat was last asked; with -a since the beginning.
    static func nstat(_ arguments: [String]) -> any Program {
        let command = CounterCommand(arguments)
        return Immediate { system in
            if let unknown = command.unknown {
                system.writeError("nstat: invalid option -- '\(unknown.drop { $0 == "-" })'\n\(usage)")
                return 255
            }
            if command.options.has("h") {
                system.writeOutput(usage)
                return 0
            }
            if command.options.has("V") {
                system.writeOutput("nstat utility, iproute2-6.1.0\n")
                return 0
            }
            guard let statistics = system.transportStatistics() else {
                system.writeError("nstat: /proc/net/snmp: No such file or directory\n")
                return 1
            }
            var history: [String: Int] = [:]
            for line in lines(text(system.readFile(historyFile) ?? [])) {
                let words = line.split(separator: " ")
                if words.count >= 2, let value = Int(words[1]) { history[String(words[0])] = value }
            }
            let output = command.run(statistics, history: &history)
            if command.keepsHistory {
                let kept = CounterCommand.counters(statistics).map { "\($0.name) \($0.value)\n" }.joined()
                _ = system.writeFile(historyFile, Array(("#kernel\n" + kept).utf8), append: false)
            }
            system.writeOutput(output)
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

/// One command line of nstat(8): what it prints of a namespace's counters, wherever the history is kept.
public struct CounterCommand {
    let options: Options

    /// `arguments` without the command's name.
    public init(_ arguments: [String]) {
        options = Options(
            arguments, flags: "asrnzjphV", values: "",
            long: [("ignore", "a"), ("noupdate", "s"), ("reset", "r"), ("nooutput", "n"), ("zeros", "z"), ("json", "j"), ("pretty", "p"), ("help", "h"), ("version", "V")])
    }

    /// An option that nstat does not have.
    public var unknown: String? { options.unknown }
    var keepsHistory: Bool { !options.has("s") }

    /// The counters under their names; gauges are none (`useless_number`).
    static func counters(_ statistics: TransportStatistics) -> [(name: String, value: Int)] {
        statistics.counterTables.flatMap { table in table.counters.filter { $0.name != "CurrEstab" }.map { (table.name + $0.name, $0.value) } }
    }

    /// What is printed; `history` is what the counters were when nstat last looked, and becomes what they are now.
    public func run(_ statistics: TransportStatistics, history: inout [String: Int]) -> String {
        let counters = CounterCommand.counters(statistics)
        let before = options.has("a") || options.has("r") ? [:] : history
        if keepsHistory { history = Dictionary(counters.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }) }
        if options.has("n") { return "" }
        let patterns = options.operands.map { WildcardPattern($0) }
        let shown = counters.map { (name: $0.name, value: $0.value - (before[$0.name] ?? 0)) }.filter { counter in
            (counter.value != 0 || options.has("z")) && (patterns.isEmpty || patterns.contains { $0.matches(counter.name) })
        }
        if options.has("j") { return "{\"kernel\":{" + shown.map { "\"\($0.name)\":\($0.value)" }.joined(separator: ",") + "}}\n" }
        return "#kernel\n" + shown.map { "\(padded($0.name, 32))\(padded(String($0.value), 16))\(leftPadded("0.0", 6))\n" }.joined()
    }
}
