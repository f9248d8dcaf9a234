/// The objects of `nft -j list ruleset` (libnftables-json(5)) as `nft list ruleset` prints them.
public enum NFTablesText {
    /// As `nft -j` prints objects: one line, with nft's version before them. 1.0.9 is the first we know to tell of a set that it is dynamic.
    public static func json(_ objects: [JSON]) -> String {
        let version = JSON.make([("metainfo", .make([("version", .string("1.0.9")), ("release_name", .string("Old Doc Yak #3")), ("json_schema_version", .int(1))]))])
        return JSON.make([("nftables", .array([version] + objects))]).compact
    }

    /// All tables among the objects, each with its sets, maps, chains and rules; lines without their ends. `handles` is `nft -a`.
    public static func lines(_ objects: [JSON], handles: Bool = false) -> [String] {
        var tables: [(head: String, comment: String?, blocks: [[String]], chains: [(name: String, lines: [String])])] = []
        var places: [String: Int] = [:]
        // A node of ten thousand Services has several times as many chains.
        var chains: [String: Int] = [:]
        for object in objects {
            guard case .object(let members) = object, let member = members.first, let family = member.value["family"]?.string else { continue }
            let value = member.value
            let table = "\(family) \(value[member.name == "table" ? "name" : "table"]?.string ?? "")"
            let handle = handles ? " # handle \(value["handle"]?.int ?? 0)" : ""
            if member.name == "table" {
                places[table] = tables.count
                tables.append(("table \(table) {" + handle, value["comment"]?.string, [], []))
                continue
            }
            guard let place = places[table] else { continue }
            switch member.name {
            case "set", "map": tables[place].blocks.append(set(value, isMap: member.name == "map", handle))
            case "chain":
                chains["\(table) \(value["name"]?.string ?? "")"] = tables[place].chains.count
                tables[place].chains.append((value["name"]?.string ?? "", chain(value, handle)))
            case "rule":
                guard let at = chains["\(table) \(value["chain"]?.string ?? "")"] else { continue }
                tables[place].chains[at].lines.append("\t\t" + rule(value) + handle)
            default: continue
            }
        }
        var result: [String] = []
        for table in tables {
            result.append(table.head)
            if let comment = table.comment { result.append("\tcomment \"\(comment)\"") }
            var isFirst = true
            for block in table.blocks + table.chains.map({ $0.lines }) {
                if !isFirst { result.append("") }
                isFirst = false
                result += block + ["\t}"]
            }
            result.append("}")
        }
        return result
    }

    private static func set(_ value: JSON, isMap: Bool, _ handle: String) -> [String] {
        var lines = ["\t\(isMap ? "map" : "set") \(value["name"]?.string ?? "") {" + handle]
        func type(_ value: JSON?) -> String { value?.string ?? (value?.items ?? []).compactMap(\.string).joined(separator: " . ") }
        let types = type(value["type"])
        lines.append("\t\ttype \(types)" + (isMap ? " : \(type(value["map"]))" : ""))
        if let size = value["size"]?.int { lines.append("\t\tsize \(size)") }
        // In text they stand in the order of the alphabet, in JSON `dynamic` is the last.
        if let flags = value["flags"] { lines.append("\t\tflags " + (flags.string ?? flags.items.compactMap(\.string).sorted().joined(separator: ","))) }
        if let seconds = value["timeout"]?.int { lines.append("\t\ttimeout \(time(seconds))") }
        if let comment = value["comment"]?.string { lines.append("\t\tcomment \"\(comment)\"") }
        let first = types.split(separator: " ").first.map(String.init) ?? ""
        let elements = (value["elem"]?.items ?? []).map { element($0, first == "ifname" ? .name : first == "mark" ? .mark : .plain) }
        for (index, text) in elements.enumerated() {
            lines.append((index == 0 ? "\t\telements = { " : "\t\t\t     ") + text + (index == elements.count - 1 ? " }" : ","))
        }
        return lines
    }

    private static func chain(_ value: JSON, _ handle: String) -> [String] {
        var lines = ["\tchain \(value["name"]?.string ?? "") {" + handle]
        if let comment = value["comment"]?.string { lines.append("\t\tcomment \"\(comment)\"") }
        if let hook = value["hook"]?.string, let type = value["type"]?.string {
            lines.append("\t\ttype \(type) hook \(hook) priority \(priority(value["prio"]?.int ?? 0, at: hook)); policy \(value["policy"]?.string ?? "accept");")
        }
        return lines
    }

    /// A number, or its distance from a standard name where that is at most ten (`prio2str` of nftables).
    static func priority(_ number: Int, at hook: String) -> String {
        var names = [("raw", -300), ("mangle", -150), ("filter", 0), ("security", 50)]
        if hook == "prerouting" { names.append(("dstnat", -100)) }
        if hook == "postrouting" { names.append(("srcnat", 100)) }
        for (name, standard) in names where abs(number - standard) <= 10 {
            return number == standard ? name : "\(name) \(number < standard ? "-" : "+") \(abs(number - standard))"
        }
        return String(number)
    }

    /// "1d2h", "30s".
    static func time(_ seconds: Int) -> String {
        guard seconds > 0 else { return "0s" }
        var rest = seconds
        var result = ""
        for (unit, size) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] where rest >= size {
            result += "\(rest / size)\(unit)"
            rest %= size
        }
        return result
    }

    // MARK: Statements

    /// The statements of a rule object, and its comment.
    public static func rule(_ value: JSON) -> String {
        let words = (value["expr"]?.items ?? []).map(statement)
        return (words + (value["comment"]?.string.map { ["comment \"\($0)\""] } ?? [])).joined(separator: " ")
    }

    /// One statement; what has no text here as its JSON.
    public static func statement(_ value: JSON) -> String {
        guard case .object(let members) = value, let member = members.first else { return value.compact }
        let body = member.value
        switch member.name {
        case "match": return match(body)
        case "vmap": return expression(body["key"] ?? .null) + " vmap " + data(body["data"] ?? .null, of: body["key"] ?? .null)
        case "accept", "drop", "return", "continue", "notrack": return member.name
        case "jump", "goto": return "\(member.name) \(body["target"]?.string ?? "")"
        case "counter":
            return body["packets"].map { "counter packets \($0.int ?? 0) bytes \(body["bytes"]?.int ?? 0)" } ?? body.string.map { "counter name \"\($0)\"" } ?? "counter"
        case "mangle":
            let key = body["key"] ?? .null
            return "\(expression(key)) set \(expression(body["value"] ?? .null, kind(of: key)))"
        case "masquerade", "redirect", "snat", "dnat": return translation(member.name, body)
        case "reject":
            guard let type = body["type"]?.string else { return "reject" }
            guard let with = body["expr"]?.string else { return "reject with \(type)" }
            return with == "port-unreachable" ? "reject" : "reject with \(type) \(with)"
        case "set":
            let more = (body["stmt"]?.items ?? []).map { " " + statement($0) }.joined()
            return "\(body["op"]?.string ?? "") \(body["set"]?.string ?? "") { \(element(body["elem"] ?? .null, .plain))\(more) }"
        case "limit":
            let unit = body["rate_unit"]?.string.map { $0 == "packets" ? "" : " \($0)" } ?? ""
            let burst = body["burst"]?.int ?? 5
            return "limit rate \(body["inv"]?.isTrue == true ? "over " : "")\(body["rate"]?.int ?? 0)\(unit)/\(body["per"]?.string ?? "second")"
                + (unit.isEmpty && burst != 5 ? " burst \(burst) packets" : "")
        case "log":
            var text = "log"
            if let prefix = body["prefix"]?.string { text += " prefix \"\(prefix)\"" }
            for key in ["level", "group", "snaplen", "queue-threshold"] { if let word = body[key] { text += " \(key) \(word.string ?? word.compact)" } }
            return text
        case "xt": return "xt \(body["type"]?.string ?? "") \"\(body["name"]?.string ?? "")\""
        default: return "\(member.name) \(body.compact)"
        }
    }

    private static func match(_ body: JSON) -> String {
        let (left, right) = (body["left"] ?? .null, body["right"] ?? .null)
        let op = body["op"]?.string ?? "=="
        if op == "==", let mask = left["&"]?.items, mask.count == 2, mask[0]["payload"]?["field"]?.string == "flags" {
            return "\(expression(mask[0])) \(expression(right)) / \(expression(mask[1]))"
        }
        if left["fib"]?["result"]?.string == "oif", case .bool(let exists) = right { return "\(expression(left)) \(exists ? "exists" : "missing")" }
        let isComputed = ["&", "|", "^", "<<", ">>"].contains { left[$0] != nil }
        let sign = op == "in" || op == "==" && !isComputed ? "" : " \(op)"
        return "\(expression(left))\(sign) \(expression(right, kind(of: left)))"
    }

    private static func translation(_ name: String, _ body: JSON) -> String {
        var text = name
        let family = body["family"]?.string.map { " \($0)" } ?? ""
        var to = ""
        if let address = body["addr"] { to = expression(address) }
        if let port = body["port"] { to += ":" + expression(port) }
        if !to.isEmpty { text += "\(family) to \(to)" }
        if let flags = body["flags"] { text += " " + (flags.string ?? flags.items.compactMap(\.string).joined(separator: ",")) }
        return text
    }

    // MARK: Expressions

    /// An expression: `ip daddr . meta l4proto`; what has no text here as its JSON.
    public static func expression(_ value: JSON) -> String { expression(value, .plain) }

    /// How constants are written beside an expression.
    enum Kind { case plain, mark, name }

    static func kind(of left: JSON) -> Kind {
        for sign in ["&", "|", "^", "<<", ">>"] { if let first = left[sign]?.items.first { return kind(of: first) } }
        switch left["meta"]?["key"]?.string ?? left["ct"]?["key"]?.string {
        case "mark": return .mark
        case "iif", "oif", "iifname", "oifname": return .name
        default: return .plain
        }
    }

    static func expression(_ value: JSON, _ kind: Kind) -> String {
        switch value {
        case .string(let text): return kind == .name ? "\"\(text)\"" : text
        case .int(let number):
            guard kind == .mark, number >= 0 else { return String(number) }
            let digits = String(number, radix: 16)
            return "0x" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
        case .array(let items): return items.map { expression($0, kind) }.joined(separator: ",")
        case .object(let members):
            guard let member = members.first else { return "" }
            return expression(member.name, member.value, kind)
        default: return value.compact
        }
    }

    private static func expression(_ name: String, _ body: JSON, _ kind: Kind) -> String {
        switch name {
        case "payload":
            guard let proto = body["protocol"]?.string else {
                return "@\(body["base"]?.string ?? ""),\(body["offset"]?.int ?? 0),\(body["len"]?.int ?? 0)"
            }
            return "\(proto) \(body["field"]?.string ?? "")"
        case "meta":
            let key = body["key"]?.string ?? ""
            return (["iif", "oif", "iifname", "oifname", "iifgroup", "oifgroup"].contains(key) ? "" : "meta ") + key
        case "ct": return "ct " + (body["dir"]?.string.map { "\($0) " } ?? "") + (body["key"]?.string ?? "")
        case "rt": return "rt \(body["key"]?.string ?? "")"
        case "fib":
            let flags = body["flags"]?.string.map { [$0] } ?? (body["flags"]?.items ?? []).compactMap(\.string)
            return "fib \(flags.joined(separator: " . ")) \(body["result"]?.string ?? "")"
        case "numgen":
            let offset = body["offset"]?.int ?? 0
            return "numgen \(body["mode"]?.string ?? "") mod \(body["mod"]?.int ?? 0)" + (offset == 0 ? "" : " offset \(offset)")
        case "tcp option": return "tcp option \(body["name"]?.string ?? "") \(body["field"]?.string ?? "")"
        case "prefix": return "\(body["addr"].map { expression($0) } ?? "")/\(body["len"]?.int ?? 0)"
        case "range": return body.items.map { expression($0, kind) }.joined(separator: "-")
        case "concat": return body.items.map { expression($0, kind) }.joined(separator: " . ")
        case "set": return "{ \(body.items.map { element($0, kind) }.joined(separator: ", ")) }"
        case "map":
            let key = body["key"] ?? .null
            let pairs = (body["data"]?["set"]?.items ?? []).map { "\(element($0.items.first ?? .null, self.kind(of: key))) : \(expression($0.items.last ?? .null, kind))" }
            return "\(expression(key)) map " + (body["data"]?.string ?? "{ \(pairs.joined(separator: ", ")) }")
        case "&", "|", "^", "<<", ">>": return body.items.map { expression($0, kind == .plain ? self.kind(of: body.items[0]) : kind) }.joined(separator: " \(name) ")
        case "elem": return element(.make([("elem", body)]), kind)
        default: return "\(name) \(body.compact)"
        }
    }

    private static func data(_ value: JSON, of key: JSON) -> String { value.string ?? expression(value, kind(of: key)) }

    /// Of a set, or with a verdict or a value behind it of a map.
    private static func element(_ value: JSON, _ kind: Kind) -> String {
        if case .array(let pair) = value, pair.count == 2 {
            let isVerdict = ["accept", "drop", "return", "continue", "jump", "goto"].contains { pair[1][$0] != nil }
            return "\(element(pair[0], kind)) : \(isVerdict ? statement(pair[1]) : expression(pair[1]))"
        }
        guard let body = value["elem"] else { return expression(value, kind) }
        var text = expression(body["val"] ?? .null, kind)
        if let seconds = body["timeout"]?.int { text += " timeout \(time(seconds))" }
        if let seconds = body["expires"]?.int { text += " expires \(time(seconds))" }
        if let comment = body["comment"]?.string { text += " comment \"\(comment)\"" }
        return text
    }
}
