import HairpinEngine
import HairpinTransport
import HairpinWire

/// The commands there are, by name: what a shell or `exec` finds on its PATH.
public enum CommandTable {
    /// The program called `name` (or `/usr/bin/name`), with the arguments behind its name; nil if there is none.
    public static func program(named path: String, arguments: [String], userland: Userland = .gnu) -> (any Program)? {
        guard let name = baseName(path), let program = make(name, arguments, userland) else { return nil }
        return Started(program, cost: ProcessorTime.start(of: name))
    }

    /// Where which(1) finds a command.
    static func path(of name: String) -> String? {
        guard !name.contains("/"), make(name, [], .gnu) != nil else { return nil }
        return
            (["sh", "bash", "ls", "cat", "echo", "sleep", "ping", "ip", "date", "true", "false", "grep", "rm", "mkdir", "hostname", "ps", "kill"].contains(name)
            ? "/bin/" : "/usr/bin/") + name
    }

    /// The last part of a path into one of the folders where commands live.
    private static func baseName(_ path: String) -> String? {
        guard let slash = path.lastIndex(of: "/") else { return path }
        let folder = path[..<slash]
        let known = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "", "/usr/local/apache2/bin"]
        return known.contains(String(folder)) ? String(path[path.index(after: slash)...]) : nil
    }

    private static func make(_ name: String, _ arguments: [String], _ userland: Userland) -> (any Program)? {
        switch name {
        case "sh", "ash", "dash", "bash": Shell(name: name, arguments: arguments, userland: userland)
        case "busybox": arguments.first.flatMap { make($0, Array(arguments.dropFirst()), .busybox) } ?? usageError("BusyBox v1.36.1 () multi-call binary.\n", status: 0)
        // The network
        case "curl": Curl(arguments)
        case "wget": Wget(arguments, userland: userland)
        case "ping", "ping4": Ping(arguments, userland: userland)
        case "traceroute": Traceroute(arguments, userland: userland)
        case "arping": ARPing(arguments)
        case "dig": Dig(arguments)
        case "nslookup": NameLookup(arguments, style: .nslookup, userland: userland)
        case "host": NameLookup(arguments, style: .host, userland: userland)
        case "getent": Getent(arguments)
        case "nc", "netcat", "ncat": Netcat(arguments, userland: userland)
        case "tcp_peer": TCPPeer(arguments)
        case "ip": IPCommand.program(arguments)
        case "ifconfig": IPCommand.ifconfig(arguments)
        case "route": IPCommand.route(arguments)
        case "ss": SocketStatistics.ss(arguments)
        case "netstat": SocketStatistics.netstat(arguments)
        case "nstat": KernelCounters.nstat(arguments)
        case "iperf3": IPerf.program(arguments)
        case "netserver": NetServer(arguments)
        case "netperf": NetPerf(arguments)
        case "iptables": Firewall.iptables(arguments)
        case "iptables-save": Firewall.save(arguments)
        case "nft": Firewall.nft(arguments)
        case "ipset": Firewall.ipset(arguments)
        case "ipvsadm": Firewall.ipvsadm(arguments)
        case "arp":
            Immediate { system in
                for line in system.neighbours() { system.writeOutput(line + "\n") }
                return 0
            }
        case "sysctl": Sysctl.program(arguments)
        case "conntrack": Conntrack(arguments)
        case "brctl": IPCommand.brctl(arguments)
        case "bridge", "tc", "ethtool": Immediate { Firewall.apply([name] + arguments, $0) }
        // Files and text
        case "cat": Cat(arguments)
        case "tail": Tail(arguments)
        case "head": Head(arguments)
        case "tee": Tee(arguments)
        case "ls": FileCommands.ls(arguments)
        case "touch": FileCommands.touch(arguments)
        case "mkdir": FileCommands.mkdir(arguments)
        case "rm", "rmdir": FileCommands.rm(arguments)
        case "cp": FileCommands.copy(arguments, moves: false)
        case "mv": FileCommands.copy(arguments, moves: true)
        case "grep": TextFilters.Grep(arguments)
        case "egrep": TextFilters.Grep(arguments, extended: true)
        case "fgrep": TextFilters.Grep(arguments, literal: true)
        case "wc": TextFilters.wc(arguments)
        case "sort": TextFilters.sort(arguments)
        case "uniq": TextFilters.uniq(arguments)
        case "cut": TextFilters.cut(arguments)
        case "tr": TextFilters.tr(arguments)
        case "awk": Awk.program(arguments)
        case "sed": StreamEditor.program(arguments)
        case "find": Find.program(arguments)
        case "xargs": ArgumentRunner(arguments, userland)
        case "expr": Expr.program(arguments)
        // Processes and the rest
        case "echo", "printf", "test", "[", "pwd": textCommand(name, arguments)
        case "true": Immediate { _ in 0 }
        case "false": Immediate { _ in 1 }
        case "sleep": Sleep(arguments)
        case "seq": Miscellany.seq(arguments)
        case "env", "printenv": Miscellany.env(name, arguments, userland)
        case "date": Miscellany.date(arguments)
        case "hostname": Miscellany.hostname(arguments)
        case "whoami":
            Immediate {
                $0.writeOutput("root\n")
                return 0
            }
        case "id":
            Immediate {
                $0.writeOutput(arguments.contains("-u") || arguments.contains("-g") ? "0\n" : "uid=0(root) gid=0(root) groups=0(root)\n")
                return 0
            }
        case "uname": Miscellany.uname(arguments)
        case "which": Miscellany.which(arguments)
        case "ps": Miscellany.ps(arguments, userland)
        case "kill": Shell(name: "kill", arguments: ["-c", "kill \"$@\"", "kill"] + arguments, userland: userland)
        case "timeout", "time", "nohup", "nice", "exec", "stdbuf", "setsid": Wrapper(name, arguments, userland)
        case "basename":
            Immediate {
                $0.writeOutput((arguments.first?.split(separator: "/").last.map(String.init) ?? "") + "\n")
                return 0
            }
        // Servers
        case "nginx": Nginx(arguments)
        case "httpd", "apache2", "httpd-foreground": Apache.program(arguments)
        case "redis-server": RedisServer(port: RedisServer.port(arguments))
        case "redis-cli": RedisClient(arguments)
        case "agnhost": Agnhost.program(arguments)
        case "http-echo": HTTPEcho.program(arguments)
        case "traefik-whoami": WhoAmI.program(port: 80)
        case "coredns": DNSServer(CoreDNSNames(nil))
        case "pause": Sleep(["infinity"])
        default: nil
        }
    }

    private static func textCommand(_ name: String, _ arguments: [String]) -> any Program {
        Immediate { system in
            switch name {
            case "echo": system.writeOutput(Echo.format(arguments, escapes: false))
            case "pwd": system.writeOutput((system.environment("PWD") ?? "/") + "\n")
            case "printf":
                guard let format = arguments.first else {
                    system.writeError("printf: missing operand\nTry 'printf --help' for more information.\n")
                    return 1
                }
                let (text, errors) = Printf.format(format, Array(arguments.dropFirst()))
                system.writeOutput(text)
                for error in errors { system.writeError("printf: \(error)\n") }
                return errors.isEmpty ? 0 : 1
            default:
                var words = arguments
                if name == "[" {
                    guard words.last == "]" else {
                        system.writeError("[: missing ']'\n")
                        return 2
                    }
                    words.removeLast()
                }
                var test = TestExpression(words, folder: system.environment("PWD") ?? "/", system)
                do throws(TestExpression.Failure) { return try test.evaluate() ? 0 : 1 } catch {
                    system.writeError("\(name): \(error.message)\n")
                    return 2
                }
            }
            return 0
        }
    }
}
