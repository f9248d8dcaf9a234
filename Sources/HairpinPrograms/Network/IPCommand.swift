import HairpinEngine
import HairpinTransport
import HairpinWire

/// ip(8) of iproute2: shows what the namespace has; commands that change something go to the kernel as they stand.
enum IPCommand {
    static func program(_ arguments: [String]) -> any Program { Immediate { run(arguments, $0) } }

    private static func run(_ arguments: [String], _ system: any SystemCalls) -> Int32 {
        var brief = false
        var family = ""
        var oneLine = false
        var words = arguments[...]
        while let word = words.first, word.hasPrefix("-") {
            words.removeFirst()
            switch word {
            case "-br", "-brief": brief = true
            case "-4": family = "inet"
            case "-6": family = "inet6"
            case "-o", "-oneline": oneLine = true
            case "-c", "-color", "-d", "-details", "-s", "-stats", "-statistics", "-n", "-N", "-h": break
            case "-V":
                system.writeOutput("ip utility, iproute2-6.1.0, libbpf 1.1.0\n")
                return 0
            default:
                system.writeError("Option \"\(word)\" is unknown, try \"ip -help\".\n")
                return 255
            }
        }
        guard let object = words.popFirst() else {
            system.writeError("Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }\nwhere  OBJECT := { address | link | neighbour | route }\n")
            return 255
        }
        let rest = Array(words)
        let verb = rest.first ?? "show"
        let isShow = rest.isEmpty || abbreviates(verb, "show") || abbreviates(verb, "list") || verb == "lst"
        let operands = rest.dropFirst(isShow && !rest.isEmpty ? 1 : 0)
        if abbreviates(object, "address") {
            return isShow ? showAddresses(Array(operands), brief: brief, family: family, oneLine: oneLine, system) : change(arguments, system)
        }
        if abbreviates(object, "link") {
            return isShow ? showLinks(Array(operands), brief: brief, system) : change(arguments, system)
        }
        if abbreviates(object, "route") {
            if isShow || ["default", "dev", "via"].contains(verb) { return showRoutes(Array(operands), family: family, system) }
            if abbreviates(verb, "get") { return routeGet(Array(rest.dropFirst()), system) }
            return change(arguments, system)
        }
        if abbreviates(object, "neighbour") || abbreviates(object, "neighbor") {
            guard isShow else { return change(arguments, system) }
            let device = operands.drop { $0 != "dev" }.dropFirst().first
            for line in system.neighbours() where family != "inet6" && (device == nil || line.contains(" dev \(device!) ") || line.hasSuffix(" dev \(device!)")) {
                system.writeOutput(line + " \n")
            }
            return 0
        }
        if abbreviates(object, "rule"), isShow {
            system.writeOutput("0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n")
            return 0
        }
        system.writeError("Object \"\(object)\" is unknown, try \"ip help\".\n")
        return 1
    }

    private static func abbreviates(_ word: String, _ full: String) -> Bool { !word.isEmpty && full.hasPrefix(word) }

    private static func change(_ arguments: [String], _ system: any SystemCalls) -> Int32 {
        do throws(ConfigurationError) {
            try system.configure(["ip"] + arguments)
            return 0
        } catch {
            system.writeError(error.message.hasSuffix("\n") ? error.message : error.message + "\n")
            return error.status
        }
    }

    // MARK: Interfaces

    private static func select(_ operands: [String], _ system: any SystemCalls) -> [InterfaceInformation]? {
        var name: String?
        var onlyUp = false
        var rest = operands[...]
        while let word = rest.popFirst() {
            switch word {
            case "dev": name = rest.popFirst()
            case "up": onlyUp = true
            case "type", "master", "scope", "to": _ = rest.popFirst()
            default: name = word
            }
        }
        let all = system.interfaces().filter { !onlyUp || $0.isUp }
        guard let name else { return all }
        let wanted = name.prefix { $0 != "@" }
        guard let match = all.first(where: { $0.name == wanted }) else {
            system.writeError("Device \"\(name)\" does not exist.\n")
            return nil
        }
        return [match]
    }

    private static func label(_ interface: InterfaceInformation) -> String { interface.name + (interface.peerIndex.map { "@if\($0)" } ?? "") }

    private static func flags(_ interface: InterfaceInformation) -> String {
        var flags = interface.kind == "loopback" ? ["LOOPBACK"] : interface.kind == "dummy" ? ["BROADCAST", "NOARP"] : ["BROADCAST", "MULTICAST"]
        if interface.isUp { flags += ["UP", "LOWER_UP"] }
        return "<\(flags.joined(separator: ","))>"
    }
    private static func state(_ interface: InterfaceInformation) -> String {
        !interface.isUp ? "DOWN" : interface.kind == "loopback" || interface.kind == "dummy" || interface.kind == "vxlan" ? "UNKNOWN" : "UP"
    }

    private static func linkLines(_ interface: InterfaceInformation, mode: Bool) -> String {
        let master = interface.master.map { " master \($0)" } ?? ""
        let queue = interface.isUp ? "noqueue" : "noop"
        var text =
            "\(interface.index): \(label(interface)): \(flags(interface)) mtu \(interface.mtu) qdisc \(queue)\(master) state \(state(interface))\(mode ? " mode DEFAULT" : "") group default qlen 1000\n"
        let isLoopback = interface.kind == "loopback"
        text += "    link/\(isLoopback ? "loopback" : "ether") \(interface.mac) brd \(isLoopback ? MACAddress.zero : .broadcast)"
        if interface.peerIndex != nil { text += " link-netnsid 0" }
        return text + "\n"
    }

    private static func showLinks(_ operands: [String], brief: Bool, _ system: any SystemCalls) -> Int32 {
        guard let interfaces = select(operands, system) else { return 1 }
        for interface in interfaces {
            system.writeOutput(
                brief ? "\(padded(label(interface), 16)) \(padded(state(interface), 14)) \(interface.mac) \(flags(interface)) \n" : linkLines(interface, mode: true))
        }
        return 0
    }

    private static func showAddresses(_ operands: [String], brief: Bool, family: String, oneLine: Bool, _ system: any SystemCalls) -> Int32 {
        guard let interfaces = select(operands, system) else { return 1 }
        for interface in interfaces {
            let addresses = family == "inet6" ? [] : interface.addresses
            if !family.isEmpty, addresses.isEmpty { continue }
            if brief {
                system.writeOutput("\(padded(label(interface), 16)) \(padded(state(interface), 14)) \(addresses.map { "\($0) " }.joined())\n")
                continue
            }
            if oneLine {
                for address in addresses {
                    system.writeOutput("\(interface.index): \(interface.name)    \(line(address, interface))\\       valid_lft forever preferred_lft forever\n")
                }
                continue
            }
            var text = linkLines(interface, mode: false)
            if !family.isEmpty { text = text.split(separator: "\n").first.map { $0 + "\n" } ?? "" }
            for address in addresses { text += "    \(line(address, interface))\n       valid_lft forever preferred_lft forever\n" }
            system.writeOutput(text)
        }
        return 0
    }

    private static func line(_ address: IPv4InterfaceAddress, _ interface: InterfaceInformation) -> String {
        let isLoopback = interface.kind == "loopback"
        let broadcast = isLoopback || address.prefix.length >= 31 ? "" : " brd \(address.prefix.broadcast)"
        return "inet \(address)\(broadcast) scope \(isLoopback ? "host" : "global") \(interface.name)"
    }

    // MARK: Routes

    private static func showRoutes(_ operands: [String], family: String, _ system: any SystemCalls) -> Int32 {
        if family == "inet6" { return 0 }
        let device = operands.drop { $0 != "dev" }.dropFirst().first
        let onlyDefault = operands.contains("default")
        for route in system.routes() {
            if onlyDefault, !route.hasPrefix("default") { continue }
            if let device, !(route + " ").contains(" dev \(device) ") { continue }
            system.writeOutput(route + " \n")
        }
        return 0
    }

    /// Longest prefix over the lines of the table, as `ip route get` prints the result.
    private static func routeGet(_ operands: [String], _ system: any SystemCalls) -> Int32 {
        guard let word = operands.first, let address = IPv4Address(word) else {
            system.writeError("Error: any valid prefix is expected rather than \"\(operands.first ?? "")\".\n")
            return 1
        }
        let interfaces = system.interfaces()
        if let own = interfaces.first(where: { $0.addresses.contains { $0.address == address } }) ?? (address.isLoopback ? interfaces.first : nil) {
            _ = own
            system.writeOutput("local \(address) dev lo src \(address) uid 0 \n    cache <local> \n")
            return 0
        }
        var best: (length: Int, words: [Substring])?
        for route in system.routes() {
            let words = route.split(separator: " ")
            guard let first = words.first, let prefix = first == "default" ? IPv4Prefix(.any, length: 0) : IPv4Prefix(first), prefix.contains(address),
                prefix.length > best?.length ?? -1
            else { continue }
            best = (prefix.length, words)
        }
        guard let best else {
            system.writeError("RTNETLINK answers: Network is unreachable\n")
            return 2
        }
        func value(_ key: Substring) -> Substring? { best.words.drop { $0 != key }.dropFirst().first }
        let device = value("dev") ?? ""
        let interface = interfaces.first { $0.name == device }
        let gateway = value("via").flatMap { IPv4Address($0) }
        let source =
            value("src").map(String.init) ?? (interface?.addresses.first { $0.prefix.contains(gateway ?? address) } ?? interface?.addresses.first)?.address.description
            ?? ""
        system.writeOutput("\(address)\(gateway.map { " via \($0)" } ?? "") dev \(device) src \(source) uid 0 \n    cache \n")
        return 0
    }

    // MARK: The older tools

    static func ifconfig(_ arguments: [String]) -> any Program {
        Immediate { system in
            for interface in system.interfaces() where arguments.first == nil || arguments.first == "-a" || arguments.first == interface.name {
                let up = interface.isUp ? "UP," : ""
                let isLoopback = interface.kind == "loopback"
                var text =
                    "\(interface.name): flags=\(isLoopback ? "73<UP,LOOPBACK,RUNNING>" : interface.isUp ? "4163<\(up)BROADCAST,RUNNING,MULTICAST>" : "4098<BROADCAST,MULTICAST>")  mtu \(interface.mtu)\n"
                for address in interface.addresses {
                    text += "        inet \(address.address)  netmask \(address.prefix.netmask)\(isLoopback ? "" : "  broadcast \(address.prefix.broadcast)")\n"
                }
                text += isLoopback ? "        loop  txqueuelen 1000  (Local Loopback)\n" : "        ether \(interface.mac)  txqueuelen 1000  (Ethernet)\n"
                system.writeOutput(text + "\n")
            }
            return 0
        }
    }

    /// brctl(8): `show`, with a bridge's name or without; ports in the order of their names.
    static func brctl(_ arguments: [String]) -> any Program {
        Immediate { system in
            guard arguments.first == "show", arguments.count <= 2 else {
                system.writeError("brctl: \(arguments.joined(separator: " ")): not modelled; brctl show is\n")
                return 1
            }
            let interfaces = system.interfaces()
            let bridges = interfaces.filter { $0.kind == "bridge" && (arguments.count == 1 || $0.name == arguments[1]) }
            if bridges.isEmpty, arguments.count == 2 {
                system.writeError("bridge \(arguments[1]) does not exist!\n")
                return 1
            }
            system.writeOutput("bridge name\tbridge id\t\tSTP enabled\tinterfaces\n")
            for bridge in bridges.sorted(by: { $0.name < $1.name }) {
                let ports = interfaces.filter { $0.master == bridge.name }.map(\.name).sorted()
                let address = bridge.mac.description.split(separator: ":").joined()
                system.writeOutput("\(bridge.name)\t\t8000.\(address)\tno\t\t\(ports.joined(separator: "\n\t\t\t\t\t\t\t"))\n")
            }
            return 0
        }
    }

    static func route(_ arguments: [String]) -> any Program {
        Immediate { system in
            if let verb = arguments.first, verb == "add" || verb == "del" { return change(["route"] + arguments, system) }
            system.writeOutput("Kernel IP routing table\nDestination     Gateway         Genmask         Flags Metric Ref    Use Iface\n")
            for route in system.routes() {
                let words = route.split(separator: " ")
                guard let first = words.first, let prefix = first == "default" ? IPv4Prefix(.any, length: 0) : IPv4Prefix(first) else { continue }
                func value(_ key: Substring) -> Substring? { words.drop { $0 != key }.dropFirst().first }
                let gateway = value("via").map(String.init)
                let flags = "U" + (gateway == nil ? "" : "G") + (prefix.length == 32 ? "H" : "")
                system.writeOutput(
                    "\(padded(prefix.network.description, 15)) \(padded(gateway ?? "0.0.0.0", 15)) \(padded(prefix.netmask.description, 15)) \(padded(flags, 5)) 0      0        0 \(value("dev") ?? "")\n"
                )
            }
            return 0
        }
    }
}

/// ss(8) and netstat(8), in the forms people type.
enum SocketStatistics {
    static func ss(_ arguments: [String]) -> any Program {
        Immediate { system in
            let options = Options(arguments, flags: "tulanpHe4sio", long: [("summary", "s")])
            if options.has("s") { return summary(system) }
            let (sockets, mixed) = select(options, system)
            var rows: [[String]] = []
            for socket in sockets {
                let isListening = socket.state == "LISTEN" || socket.state == "UNCONN"
                let peer = isListening ? "0.0.0.0:*" : socket.remote.description
                var more = ""
                if options.has("o"), let timer = socket.timer { more += TCPInformationText.timer(timer) }
                if options.has("i"), let tcp = socket.tcp {
                    more += "\n\t" + TCPInformationText.line(tcp, congestion: socket.congestion, details: socket.congestionDetails, isListening: isListening, numeric: options.has("n"))
                }
                rows.append(
                    [socket.kind == .stream ? "tcp" : "udp", socket.state, String(socket.receiveQueue), String(socket.sendQueue), socket.local.description, peer, more])
            }
            if !options.has("H") {
                system.writeOutput(
                    "\(mixed ? "Netid " : "")\(padded("State", 9)) \(padded("Recv-Q", 6)) \(padded("Send-Q", 6)) \(leftPadded("Local Address:Port", 22)) \(leftPadded("Peer Address:Port", 22)) Process\n"
                )
            }
            for row in rows {
                system.writeOutput(
                    "\(mixed ? padded(row[0], 6) : "")\(padded(row[1], 9)) \(padded(row[2], 6)) \(padded(row[3], 6)) \(leftPadded(row[4], 22)) \(leftPadded(row[5], 22))\(row[6])\n"
                )
            }
            return 0
        }
    }

    /// `ss -s` (`print_summary` of iproute2).
    private static func summary(_ system: any SystemCalls) -> Int32 {
        let sockets = system.sockets()
        let streams = sockets.filter { $0.kind == .stream }
        let waiting = streams.count { $0.state == "TIME-WAIT" }
        let hashed = streams.count - waiting
        let datagrams = sockets.count { $0.kind == .datagram }
        func line(_ name: String, _ count: Int) -> String { "\(name)\t  \(padded(String(count), 9)) \(padded(String(count), 9)) \(padded("0", 9))\n" }
        system.writeOutput(
            "Total: \(sockets.count - waiting)\nTCP:   \(streams.count) (estab \(streams.count { $0.state == "ESTAB" }), closed \(waiting), orphaned 0, timewait \(waiting))\n\n"
                + "Transport Total     IP        IPv6\n" + line("RAW", sockets.count - streams.count - datagrams) + line("UDP", datagrams) + line("TCP", hashed)
                + line("INET", sockets.count - waiting) + line("FRAG", 0) + "\n")
        return 0
    }

    static func netstat(_ arguments: [String]) -> any Program {
        Immediate { system in
            let options = Options(arguments, flags: "tulanprieWs4", long: [("statistics", "s"), ("tcp", "t"), ("udp", "u")])
            if options.has("s") { return KernelCounters.summary(system, tcpOnly: options.has("t"), udpOnly: options.has("u")) }
            if options.has("r") {
                guard case .exit(let status) = IPCommand.route(["-n"]).resume(system) else { return 1 }
                return status
            }
            system.writeOutput(
                options.has("l")
                    ? "Active Internet connections (only servers)\n"
                    : options.has("a") ? "Active Internet connections (servers and established)\n" : "Active Internet connections (w/o servers)\n")
            system.writeOutput("Proto Recv-Q Send-Q Local Address           Foreign Address         State      \n")
            let names = [
                "ESTAB": "ESTABLISHED", "FIN-WAIT-1": "FIN_WAIT1", "FIN-WAIT-2": "FIN_WAIT2", "SYN-SENT": "SYN_SENT", "SYN-RECV": "SYN_RECV", "TIME-WAIT": "TIME_WAIT",
                "CLOSE-WAIT": "CLOSE_WAIT", "LAST-ACK": "LAST_ACK",
            ]
            for socket in select(options, system).0 {
                let state = socket.state == "UNCONN" ? "" : names[socket.state] ?? socket.state
                let isListening = socket.state == "LISTEN" || socket.state == "UNCONN"
                system.writeOutput(
                    "\(padded(socket.kind == .stream ? "tcp" : "udp", 5)) \(leftPadded(socket.receiveQueue, 6)) \(leftPadded(socket.sendQueue, 6)) \(padded(socket.local.description, 23)) \(padded(isListening ? "0.0.0.0:*" : socket.remote.description, 23)) \(padded(state, 11))\n"
                )
            }
            return 0
        }
    }

    private static func select(_ options: Options, _ system: any SystemCalls) -> ([SocketInformation], mixed: Bool) {
        let tcp = options.has("t")
        let udp = options.has("u")
        let sockets = system.sockets().filter { socket in
            guard socket.kind != .icmpEcho, socket.kind == .stream ? tcp || !udp : udp || !tcp else { return false }
            let isListening = socket.state == "LISTEN" || socket.state == "UNCONN"
            return options.has("a") || isListening == options.has("l")
        }
        return (sockets, tcp == udp)
    }
}

/// iptables(8), ipvsadm-like changes and sysctl writes go to the kernel; the rest is printing.
enum Firewall {
    static func iptables(_ arguments: [String]) -> any Program {
        Immediate { system in
            var table = "filter"
            var rest: [String] = []
            var words = arguments[...]
            while let word = words.popFirst() {
                if word == "-t" || word == "--table" { table = words.popFirst() ?? table } else { rest.append(word) }
            }
            guard rest.contains(where: { ["-L", "--list", "-S", "--list-rules", "-nL", "-nvL", "-vnL", "-Ln", "-Lnv", "-vL"].contains($0) }) else {
                return apply(["iptables"] + arguments, system)
            }
            let chain = rest.drop { !$0.hasPrefix("-S") && !$0.contains("L") && !$0.hasPrefix("--list") }.dropFirst().first { !$0.hasPrefix("-") }
            let lines = section(table, system.iptablesSave())
            let asRules = rest.contains("-S") || rest.contains("--list-rules")
            var chains: [(name: String, policy: String)] = []
            for line in lines where line.hasPrefix(":") {
                let parts = line.dropFirst().split(separator: " ")
                if parts.count >= 2, chain == nil || parts[0] == chain! { chains.append((String(parts[0]), String(parts[1]))) }
            }
            if let chain, chains.isEmpty {
                _ = chain
                system.writeError("iptables: No chain/target/match by that name.\n")
                return 1
            }
            if asRules {
                for (name, policy) in chains { system.writeOutput(policy == "-" ? "-N \(name)\n" : "-P \(name) \(policy)\n") }
                for line in lines where line.hasPrefix("-A") && (chain == nil || line.hasPrefix("-A \(chain!) ")) { system.writeOutput(line + "\n") }
                return 0
            }
            for (index, (name, policy)) in chains.enumerated() {
                let rules = lines.filter { $0.hasPrefix("-A \(name) ") }
                system.writeOutput(
                    (index > 0 ? "\n" : "") + (policy == "-" ? "Chain \(name)\n" : "Chain \(name) (policy \(policy))\n")
                        + "target     prot opt source               destination         \n")
                for rule in rules { system.writeOutput(listed(rule) + "\n") }
            }
            return 0
        }
    }

    private static func listed(_ rule: String) -> String {
        var target = ""
        var proto = "all"
        var source = "0.0.0.0/0"
        var destination = "0.0.0.0/0"
        var rest: [String] = []
        var words = rule.split(separator: " ").map(String.init).dropFirst(2)
        var inverted = ""
        while let word = words.popFirst() {
            switch word {
            case "!":
                inverted = "!"
                continue
            case "-j", "-g": target = words.popFirst() ?? ""
            case "-p": proto = inverted + (words.popFirst() ?? "")
            case "-s": source = inverted + (words.popFirst() ?? "")
            case "-d": destination = inverted + (words.popFirst() ?? "")
            case "-m": _ = words.popFirst()
            default: rest.append(inverted + word)
            }
            inverted = ""
        }
        return "\(padded(target, 10)) \(padded(proto, 4)) --  \(padded(source, 20)) \(padded(destination, 20)) \(rest.joined(separator: " "))"
    }

    static func save(_ arguments: [String]) -> any Program {
        Immediate { system in
            let all = system.iptablesSave()
            let table = arguments.drop { $0 != "-t" }.dropFirst().first
            let lines = table.map { ["*\($0)"] + section($0, all) + ["COMMIT"] } ?? all
            for line in lines { system.writeOutput(line + "\n") }
            return 0
        }
    }

    /// nft(8): listing only.
    static func nft(_ arguments: [String]) -> any Program {
        Immediate { system in
            let words = arguments.filter { !$0.hasPrefix("-") }
            let isJSON = arguments.contains { $0 == "--json" || $0.hasPrefix("-") && !$0.hasPrefix("--") && $0.contains("j") }
            let showsHandles = arguments.contains { $0 == "--handle" || $0.hasPrefix("-") && !$0.hasPrefix("--") && $0.contains("a") }
            var objects = system.nftRuleset()
            switch (words.first, words.dropFirst().first) {
            case ("list", "ruleset") where words.count == 2: break
            case ("list", "table") where words.count == 3 || words.count == 4:
                let (family, name) = (words.count == 4 ? words[2] : "ip", words[words.count - 1])
                objects = objects.filter { object in
                    guard case .object(let members) = object, let member = members.first else { return false }
                    return member.value["family"]?.string == family && member.value[member.name == "table" ? "name" : "table"]?.string == name
                }
                if objects.isEmpty {
                    system.writeError("Error: No such file or directory\n\(words.joined(separator: " "))\n")
                    return 1
                }
            default:
                system.writeError("nft: \(words.joined(separator: " ")): not modelled; \"list ruleset\" and \"list table\" are\n")
                return 1
            }
            if isJSON { system.writeOutput(NFTablesText.json(objects) + "\n") } else {
                for line in NFTablesText.lines(objects, handles: showsHandles) { system.writeOutput(line + "\n") }
            }
            return 0
        }
    }

    /// ipset(8): `save`, `list` and `list -n`.
    static func ipset(_ arguments: [String]) -> any Program {
        Immediate { system in
            let lines = system.ipsetSave()
            switch arguments {
            case ["save"]: for line in lines { system.writeOutput(line + "\n") }
            case ["list"], ["-L"]:
                for line in lines where line.hasPrefix("create ") {
                    let words = line.split(separator: " ", maxSplits: 3).map(String.init)
                    let members = lines.filter { $0.hasPrefix("add \(words[1]) ") }.map { $0.dropFirst(words[1].utf8.count + 5) }
                    system.writeOutput("Name: \(words[1])\nType: \(words[2])\nHeader: \(words.count > 3 ? words[3] : "")\nNumber of entries: \(members.count)\nMembers:\n")
                    for member in members { system.writeOutput(member + "\n") }
                    system.writeOutput("\n")
                }
            case ["list", "-n"], ["list", "-name"]:
                for line in lines where line.hasPrefix("create ") { system.writeOutput(line.split(separator: " ")[1] + "\n") }
            default:
                system.writeError("ipset: \(arguments.joined(separator: " ")): not modelled; save and list are\n")
                return 1
            }
            return 0
        }
    }

    /// ipvsadm(8): `-L` or nothing, with `-n`, `-c`, `--stats`, `--rate` and `--exact`.
    static func ipvsadm(_ arguments: [String]) -> any Program {
        let words = ["--list": "L", "--numeric": "n", "--connection": "c", "--stats": "s", "--rate": "r", "--exact": "x", "--sort": "o"]
        let letters = Set(arguments.flatMap { $0.hasPrefix("--") ? words[$0] ?? "?" : $0.hasPrefix("-") ? String($0.dropFirst().map { "Llnc".contains($0) ? $0 : "?" }) : "?" })
        return Immediate { system in
            guard !letters.contains("?") else {
                system.writeError("ipvsadm: \(arguments.joined(separator: " ")): not modelled; -Ln, -Lnc, -Ln --stats and -Ln --rate are\n")
                return 2
            }
            let isFigures = letters.contains("s") || letters.contains("r")
            guard !letters.contains("c") || !isFigures && !letters.contains("x") else {
                system.writeError("options conflicts in the list command\n")
                return 2
            }
            let view: VirtualServerView =
                letters.contains("c") ? .connections : isFigures ? .figures(areRates: !letters.contains("s"), isExact: letters.contains("x")) : .services
            for line in system.virtualServerListing(view) { system.writeOutput(line + "\n") }
            return 0
        }
    }

    private static func section(_ table: String, _ lines: [String]) -> [String] {
        Array(lines.drop { $0 != "*\(table)" }.dropFirst().prefix { !$0.hasPrefix("*") && $0 != "COMMIT" })
    }

    static func apply(_ words: [String], _ system: any SystemCalls) -> Int32 {
        do throws(ConfigurationError) {
            try system.configure(words)
            return 0
        } catch {
            system.writeError(error.message.hasSuffix("\n") ? error.message : error.message + "\n")
            return error.status
        }
    }
}
