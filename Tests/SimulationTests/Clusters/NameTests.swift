import HairpinDatapath
import HairpinEngine
import HairpinPrograms
import HairpinTransport
import HairpinWire
import Testing

/// What pods ask and what the cluster's DNS answers, read from frames.
@Suite("Names at the wire")
struct NameTests {
    /// A DNS message seen at an interface.
    private struct Message {
        var message: DNSMessage
        var sourcePort: UInt16
        var destination: IPv4Address
        var time: Instant
        var size: Int
        var isQuery: Bool { !message.flags.contains(.response) }
        /// "A web.default.svc.cluster.local", or with the answer "A web… NOERROR 1".
        var text: String {
            let question = message.questions[0]
            let words = "\(question.type) \(question.name.key)"
            return isQuery ? words : "\(words) \(message.responseCode) \(message.answers.count)"
        }
    }

    private func messages(_ cluster: Cluster, at pod: String) -> [Message] {
        cluster.sights(at: "default/\(pod)", "eth0").compactMap { sight in
            sight.withIPv4 { ip -> Message? in
                guard ip.proto == .udp, let udp = UDPView(ip.payload), udp.sourcePort == 53 || udp.destinationPort == 53,
                    let message = DNSMessage(parsing: Array(udp.payload))
                else { return nil }
                return Message(message: message, sourcePort: udp.sourcePort, destination: ip.destination, time: sight.time, size: udp.payload.count)
            }
        }
    }

    private static let search = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    /// A pod whose C library is glibc, and one whose is musl.
    private static func shells() -> String {
        Manifest.pod("glibc", image: "debian:12", command: "sleep, infinity") + Manifest.pod("musl", image: "alpine:3.20", command: "sleep, infinity")
    }
    private static let web = Manifest.pod("web", labels: ["app": "web"]) + Manifest.service("web", selector: ["app": "web"])

    // MARK: Sequences

    @Test("curl http://web: A and AAAA of the first candidate from one socket, back to back, then the SYN to the virtual address", arguments: ["glibc", "musl"])
    func shortName(shell: String) throws {
        let cluster = try Cluster(Self.web + Self.shells()) { $0.hasDNS = true }
        #expect(try cluster.run("curl -sS http://web/", in: shell).exit == 0)
        let seen = messages(cluster, at: shell)
        #expect(seen.filter(\.isQuery).map(\.text) == ["A web.default.svc.cluster.local", "AAAA web.default.svc.cluster.local"])
        #expect(Set(seen.filter(\.isQuery).map(\.sourcePort)).count == 1)
        // Both leave before either answer comes.
        #expect(seen.map(\.isQuery) == [true, true, false, false])
        let a = try #require(seen.first { !$0.isQuery && $0.message.questions[0].type == .a }).message
        #expect(a.answers.map(\.data) == [.a(try cluster.serviceAddress("web"))] && a.answers.map(\.timeToLive) == [30])
        #expect(a.flags.contains(.authoritative) && !a.flags.contains(.recursionAvailable) && a.authorities.isEmpty)
        // A single-stack Service: no error, no records, and the zone's SOA.
        let aaaa = try #require(seen.first { !$0.isQuery && $0.message.questions[0].type == .aaaa }).message
        #expect(aaaa.responseCode == .noError && aaaa.answers.isEmpty && aaaa.authorities.map(\.type) == [.soa])
        #expect(aaaa.authorities[0].timeToLive == 30 && aaaa.authorities[0].name.key == "cluster.local")
        let syn = try #require(cluster.sights(at: "default/\(shell)", "eth0").first { $0.opensConnection })
        #expect(syn.destination == (try cluster.serviceAddress("web")))
        #expect(syn.time > (try #require(seen.last)).time)
        #expect(cluster.imbalance == nil)
    }

    @Test("web.other: one miss in the own namespace, then the answer: four questions", arguments: ["glibc", "musl"])
    func otherNamespace(shell: String) throws {
        let other = """
            ---
            {apiVersion: v1, kind: Namespace, metadata: {name: other}}
            ---
            {apiVersion: v1, kind: Service, metadata: {name: web, namespace: other}, spec: {ports: [{port: 80}]}}

            """
        let cluster = try Cluster(other + Self.shells()) { $0.hasDNS = true }
        _ = try cluster.run("curl -sS -m 1 http://web.other/", in: shell)
        let seen = messages(cluster, at: shell)
        #expect(
            seen.filter { !$0.isQuery }.map(\.text) == [
                "A web.other.default.svc.cluster.local NXDOMAIN 0", "AAAA web.other.default.svc.cluster.local NXDOMAIN 0", "A web.other.svc.cluster.local NOERROR 1",
                "AAAA web.other.svc.cluster.local NOERROR 0",
            ])
        #expect(seen.filter(\.isQuery).count == 4)
    }

    @Test("example.com: the search list first, eight questions and six misses; a final dot makes it two", arguments: ["glibc", "musl"])
    func outside(shell: String) throws {
        let cluster = try Cluster(Self.shells()) { $0.hasDNS = true }
        let outcome = try cluster.run("curl -sS http://example.com/", in: shell)
        #expect(outcome.exit == 6 && outcome.errorOutput.contains("Could not resolve host: example.com"))
        let asked = messages(cluster, at: shell).filter(\.isQuery)
        let names = Self.search.map { "example.com.\($0)" } + ["example.com"]
        #expect(asked.map(\.text) == names.flatMap { ["A \($0)", "AAAA \($0)"] })
        // Each pair has a socket of its own.
        #expect(stride(from: 0, to: 8, by: 2).allSatisfy { asked[$0].sourcePort == asked[$0 + 1].sourcePort })
        let answers = messages(cluster, at: shell).filter { !$0.isQuery }
        #expect(answers.count { $0.message.responseCode == .nameError && $0.message.authorities.first?.name.key == "cluster.local" } == 6)
        cluster.forget()
        _ = try cluster.run("curl -sS http://example.com./", in: shell)
        #expect(messages(cluster, at: shell).filter(\.isQuery).map(\.text) == ["A example.com", "AAAA example.com"])
    }

    @Test("getent hosts asks for AAAA through the whole search list before it asks for A; ahosts asks for both at once")
    func getent() throws {
        let cluster = try Cluster(Self.web + Self.shells()) { $0.hasDNS = true }
        let hosts = try cluster.run("getent hosts web", in: "glibc")
        let address = "\(try cluster.serviceAddress("web"))"
        #expect(hosts.output == address + String(repeating: " ", count: 16 - address.count) + "web.default.svc.cluster.local\n", "\(hosts)")
        #expect(
            messages(cluster, at: "glibc").filter(\.isQuery).map(\.text)
                == (Self.search.map { "AAAA web.\($0)" } + ["AAAA web", "A web.default.svc.cluster.local"]))
        cluster.forget()
        #expect(try cluster.run("getent ahosts web", in: "glibc").exit == 0)
        #expect(messages(cluster, at: "glibc").filter(\.isQuery).map(\.text) == ["A web.default.svc.cluster.local", "AAAA web.default.svc.cluster.local"])
        cluster.forget()
        let reverse = try cluster.run("getent hosts \(try cluster.serviceAddress("web"))", in: "glibc")
        #expect(reverse.output.hasSuffix(" web.default.svc.cluster.local\n"))
        #expect(messages(cluster, at: "glibc").filter(\.isQuery).map(\.message.questions[0].type) == [.ptr])
    }

    @Test("A server that says nothing: glibc asks again after 5 s from the same socket, musl after 2.5 s")
    func silence() throws {
        for (shell, gap) in [("glibc", Duration.seconds(5)), ("musl", .milliseconds(2500))] {
            let cluster = try Cluster(Self.shells())
            let container = try cluster.run("echo 'nameserver 10.244.0.77' > /etc/resolv.conf; ping -c 1 web", in: shell)
            #expect(container.errorOutput.contains(shell == "glibc" ? "Temporary failure in name resolution" : "ping: "), "\(container)")
            #expect(container.exit != 0)
            // Nobody has the address: the questions wait for ARP and are dropped; what counts is when and from where they were sent.
            let took = try #require(container.endedAt) - container.startedAt
            #expect(took >= (shell == "glibc" ? .seconds(10) : .seconds(5)) && took < (shell == "glibc" ? .seconds(11) : .seconds(6)), "\(shell) \(gap) \(took)")
        }
    }

    @Test("A lost AAAA answer is a gap of five seconds; then glibc asks one question at a time, from the same port")
    func lostAnswer() throws {
        let cluster = try Cluster(Self.web + Self.shells()) { $0.hasDNS = true }
        let rule = "iptables -A INPUT -p udp --sport 53 -m statistic --mode nth --every 1000 --packet 1 -j DROP"
        let outcome = try cluster.run("\(rule); getent ahosts web", in: "glibc")
        #expect(outcome.exit == 0, "\(outcome)")
        let seen = messages(cluster, at: "glibc")
        #expect(seen.map(\.isQuery) == [true, true, false, false, true, false, true, false])
        #expect(seen.filter(\.isQuery).map(\.message.questions[0].type) == [.a, .aaaa, .a, .aaaa])
        #expect(Set(seen.filter(\.isQuery).map(\.sourcePort)).count == 1)
        // The retry repeats the questions, identifiers and all.
        let asked = seen.filter(\.isQuery).map(\.message.identifier)
        #expect(asked[0] == asked[2] && asked[1] == asked[3])
        let gap = seen[4].time - seen[0].time
        #expect(gap >= .seconds(5) && gap < .milliseconds(5001), "\(gap)")
    }

    // MARK: Records

    private static let records = """
        ---
        {apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432}]}}
        ---
        apiVersion: apps/v1
        kind: StatefulSet
        metadata: {name: db}
        spec:
          serviceName: db
          replicas: 2
          selector: {matchLabels: {app: db}}
          template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: nginx}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: named}, spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: metrics, port: 9090}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: alias}, spec: {type: ExternalName, externalName: named.default.svc.cluster.local}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: away}, spec: {type: ExternalName, externalName: db.example.com}}

        """

    private func dig(_ cluster: Cluster, _ arguments: String) throws -> [String] {
        try cluster.run("dig +short \(arguments)", in: "glibc").output.split(separator: "\n").map(String.init).sorted()
    }

    @Test("dig finds every kind of record of the specification")
    func kinds() throws {
        let cluster = try Cluster(Self.web + Self.records + Self.shells()) { $0.hasDNS = true }
        let (db0, db1, named) = (try cluster.address("db-0"), try cluster.address("db-1"), try cluster.serviceAddress("named"))
        let zone = "default.svc.cluster.local"
        #expect(try dig(cluster, "db.\(zone)") == ["\(db0)", "\(db1)"])
        #expect(try dig(cluster, "db-1.db.\(zone)") == ["\(db1)"])
        #expect(try dig(cluster, "SRV _sql._tcp.db.\(zone)") == ["0 50 5432 db-0.db.\(zone).", "0 50 5432 db-1.db.\(zone)."])
        #expect(try dig(cluster, "SRV _metrics._tcp.named.\(zone)") == ["0 100 9090 named.\(zone)."])
        #expect(try dig(cluster, "SRV _nothing._tcp.named.\(zone)") == [])
        #expect(try dig(cluster, "-x \(named)") == ["named.\(zone)."])
        #expect(try dig(cluster, "-x \(db0)") == ["db-0.db.\(zone)."])
        // Endpoints of a Service with an address have names too, made of theirs.
        let label = "\(try cluster.address("web"))".split(separator: ".").joined(separator: "-")
        #expect(try dig(cluster, "\(label).web.\(zone)") == ["\(try cluster.address("web"))"])
        #expect(try dig(cluster, "\(label).default.pod.cluster.local") == ["\(try cluster.address("web"))"])
        #expect(try dig(cluster, "alias.\(zone)") == ["\(named)", "named.\(zone)."].sorted())
        #expect(try dig(cluster, "CNAME alias.\(zone)") == ["named.\(zone)."])
        // Followed upstream, where nobody knows it: the alias alone.
        #expect(try dig(cluster, "away.\(zone)") == ["db.example.com."])
        #expect(try dig(cluster, "TXT dns-version.cluster.local") == ["\"1.1.0\""])
        #expect(try dig(cluster, "NS cluster.local") == ["kube-dns.kube-system.svc.cluster.local."])
        #expect(try dig(cluster, "+search named") == ["\(named)"])
        #expect(try dig(cluster, "nAmEd.DEFAULT.svc.cluster.local") == ["\(named)"])
        #expect(try dig(cluster, "nobody.\(zone)") == [])
        #expect(cluster.imbalance == nil)
    }

    @Test("SRV answers bring the addresses of their targets along, and an unknown name an SOA")
    func sections() throws {
        let cluster = try Cluster(Self.web + Self.records + Self.shells()) { $0.hasDNS = true }
        let text = try cluster.run("dig SRV _sql._tcp.db.default.svc.cluster.local", in: "glibc").output
        #expect(text.contains(";; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 3\n;; WARNING: recursion requested but not available\n"), "\(text)")
        #expect(text.contains("; EDNS: version: 0, flags:; udp: 1232\n; COOKIE: ") && text.contains(" (echoed)\n"), "\(text)")
        #expect(text.contains("db-0.db.default.svc.cluster.local. 30 IN\tA\t\(try cluster.address("db-0"))\n"), "\(text)")
        #expect(text.contains(";; SERVER: 10.96.0.10#53(10.96.0.10) (UDP)\n"))
        let none = try cluster.run("dig nobody.default.svc.cluster.local", in: "glibc").output
        #expect(none.contains("status: NXDOMAIN") && none.contains("AUTHORITY: 1"))
        #expect(none.contains("cluster.local.\t\t30\tIN\tSOA\tns.dns.cluster.local. hostmaster.cluster.local. 1704067200 7200 1800 86400 30\n"), "\(none)")
    }

    @Test("An answer that does not fit: TC, then the whole answer over TCP; with a larger buffer it fits")
    func truncation() throws {
        let endpoints = (1...60).map { "{addresses: [192.168.77.\($0)]}" }.joined(separator: ", ")
        let large = """
            ---
            {apiVersion: v1, kind: Service, metadata: {name: large}, spec: {clusterIP: None, ports: [{port: 80}]}}
            ---
            {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: large, labels: {kubernetes.io/service-name: large}}, addressType: IPv4,
             ports: [{port: 80}], endpoints: [\(endpoints)]}

            """
        let cluster = try Cluster(large + Self.shells()) { $0.hasDNS = true }
        let name = "large.default.svc.cluster.local"
        let whole = try cluster.run("dig +noedns \(name)", in: "glibc").output
        #expect(whole.hasPrefix(";; Truncated, retrying in TCP mode.\n") && whole.contains("ANSWER: 60,") && whole.contains("(TCP)\n"), "\(whole)")
        let cut = try #require(messages(cluster, at: "glibc").last)
        #expect(cut.message.flags.contains(.truncated) && cut.size <= 512 && cut.message.answers.count > 20, "\(cut.size) \(cut.message.answers.count)")
        #expect(cluster.sights(at: "default/glibc", "eth0").contains { $0.opensConnection && $0.destination == IPv4Address(10, 96, 0, 10) })
        cluster.forget()
        let ignored = try cluster.run("dig +noedns +ignore \(name)", in: "glibc").output
        #expect(ignored.contains("flags: qr aa tc rd;") && !cluster.sights(at: "default/glibc", "eth0").contains { $0.isTCP })
        #expect(try cluster.run("dig +bufsize=4096 \(name)", in: "glibc").output.contains("ANSWER: 60,"))
        let asked = try cluster.run("dig +tcp +short \(name)", in: "glibc").output.split(separator: "\n")
        #expect(Set(asked).count == 60)
        // The stub resolvers go over to TCP as well.
        for shell in ["glibc", "musl"] { #expect(try cluster.run("getent ahostsv4 large | grep -c STREAM", in: shell).output == "60\n", "\(shell)") }
        #expect(cluster.imbalance == nil)
    }

    @Test("dig, nslookup and host over a server that is not there")
    func refused() throws {
        let cluster = try Cluster(Self.web + Self.shells())
        let web = try cluster.address("web")
        let outcome = try cluster.run("dig +tcp +tries=1 @\(web) x.", in: "glibc")
        #expect(outcome.exit == 9 && outcome.output.hasPrefix(";; Connection to \(web)#53(\(web)) for x failed: connection refused.\n"), "\(outcome)")
    }

    // MARK: resolv.conf

    private func query(_ options: String, _ command: String = "ping -c 1 web") throws -> (Cluster, [Message]) {
        let cluster = try Cluster(Self.web + Self.shells()) { $0.hasDNS = true }
        _ = try cluster.run("echo 'options ndots:5 \(options)' >> /etc/resolv.conf; \(command)", in: "glibc")
        return (cluster, messages(cluster, at: "glibc"))
    }

    @Test("single-request waits for one answer before the second question, single-request-reopen takes a new socket for it, no-aaaa asks one")
    func options() throws {
        let (_, single) = try query("single-request")
        #expect(single.map(\.isQuery) == [true, false, true, false])
        #expect(Set(single.filter(\.isQuery).map(\.sourcePort)).count == 1)
        let (_, reopened) = try query("single-request-reopen")
        #expect(reopened.map(\.isQuery) == [true, false, true, false])
        #expect(Set(reopened.filter(\.isQuery).map(\.sourcePort)).count == 2)
        let (_, one) = try query("no-aaaa")
        #expect(one.filter(\.isQuery).map(\.text) == ["A web.default.svc.cluster.local"])
        let (_, extended) = try query("edns0")
        #expect(extended.filter(\.isQuery).allSatisfy { $0.message.ednsExtension?.payloadSize == 1200 })
    }

    @Test("use-vc asks over one TCP connection, both questions in one segment")
    func virtualCircuit() throws {
        let (cluster, datagrams) = try query("use-vc")
        #expect(datagrams.isEmpty)
        let sent = cluster.sights(at: "default/glibc", "eth0").compactMap { sight in
            sight.withTCP { ip, tcp in tcp.destinationPort == 53 && !tcp.payload.isEmpty ? tcp.payload.count : nil }
        }
        // Length, header, name, type and class of each.
        #expect(sent == [2 * (2 + 12 + 31 + 4)], "\(sent)")
    }

    @Test("Of several servers glibc asks one after the other, musl all at once; rotate begins anywhere")
    func servers() throws {
        let extra = Manifest.pod("quiet", image: "alpine:3.20", command: "sleep, infinity")
        for shell in ["glibc", "musl"] {
            let cluster = try Cluster(Self.web + extra + Self.shells()) { $0.hasDNS = true }
            let quiet = try cluster.address("quiet")
            _ = try cluster.run(
                "printf 'nameserver \(quiet)\\nnameserver 10.96.0.10\\nsearch default.svc.cluster.local\\noptions ndots:5\\n' > /etc/resolv.conf; ping -c 1 web",
                in: shell)
            let asked = messages(cluster, at: shell).filter(\.isQuery)
            let other = IPv4Address(10, 96, 0, 10)
            if shell == "glibc" {
                // Nobody listens there: port unreachable sends it on.
                #expect(asked.map(\.destination).prefix(1) == [quiet] && asked.map(\.destination).suffix(2) == [other, other])
            } else {
                #expect(asked.map(\.destination) == [quiet, other, quiet, other])
                #expect(asked.map(\.message.questions[0].type) == [.a, .a, .aaaa, .aaaa])
            }
        }
    }
}
