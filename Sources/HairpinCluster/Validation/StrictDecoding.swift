/// What the API server's decoder says before validation: sigs.k8s.io/json in strict mode, as kubectl asks for it. A value of the wrong type is told alone; fields that are not
/// known are told together, in alphabetical order, which is the order kubectl sends them in.
struct StrictDecoding {
    private let subject: String
    private var unknown: [InputError] = []
    /// Of a CustomResourceDefinition: its schema, and not the decoder, knows the types.
    private let isCustom: Bool

    /// With `type` nil, only what every object has is looked at.
    static func check(_ document: YAMLValue, type: String?, kind: String, version: String) throws(InputError) {
        let number = version.split(separator: "/").last ?? ""
        var decoding = StrictDecoding(
            subject: "\(kind) in version \"\(number)\" cannot be handled as a \(kind)", isCustom: type == nil || version.hasPrefix("policy.networking.k8s.io/"))
        _ = try document.entries()
        if let type {
            try decoding.object(document, type: type, path: "", stack: [])
        } else if let metadata = document["metadata"] {
            try decoding.value(metadata, of: "ObjectMeta", in: kind, path: "metadata", stack: ["metadata"])
        }
        guard !decoding.unknown.isEmpty else { return }
        throw InputError(subject: decoding.subject + ": strict decoding error", reasons: decoding.unknown, at: document)
    }

    private init(subject: String, isCustom: Bool) { (self.subject, self.isCustom) = (subject, isCustom) }

    private mutating func object(_ value: YAMLValue, type: String, path: String, stack: [String]) throws(InputError) {
        guard case .mapping(let entries) = value.content, let fields = KubernetesFields.types[type] else { return }
        for entry in entries.sorted(by: { $0.key < $1.key }) {
            guard let field = fields.first(where: { $0.name == entry.key }) else {
                if unknown.count >= Findings.most { continue }
                let full = path.isEmpty ? entry.key : "\(path).\(entry.key)"
                let fix = value.unknownKey(entry, known: fields.map(\.name)).fix
                unknown.append(InputError(file: value.file, line: entry.keyLine, column: entry.keyColumn, problem: "unknown field \"\(full)\"", fix: fix))
                continue
            }
            let child = value.child(entry.value, key: entry.key)
            try self.value(child, of: field.type, in: type, path: path.isEmpty ? entry.key : "\(path).\(entry.key)", stack: stack + [entry.key])
        }
    }

    /// `stack` are the fields around it, without numbers: as messages of the decoder have them.
    private mutating func value(_ value: YAMLValue, of type: String, in owner: String, path: String, stack: [String]) throws(InputError) {
        if type == "*" || value.isNull { return }
        func mismatch(_ fix: String = "") -> InputError { self.mismatch(value, type, owner, stack, fix) }
        if type.hasPrefix("[]") {
            guard case .sequence(let nodes) = value.content else { if isCustom, !stack.contains("metadata") { return } else { throw mismatch("Write its items as lines that begin with \"- \".") } }
            for (number, node) in nodes.enumerated() {
                let item = YAMLValue(node: node, file: value.file, path: "\(path)[\(number)]")
                try self.value(item, of: String(type.dropFirst(2)), in: owner, path: "\(path)[\(number)]", stack: stack)
            }
        } else if type.hasPrefix("{}") {
            guard case .mapping = value.content else { throw mismatch("Write \"key: value\" lines, indented below it.") }
            for (key, child) in try value.entries() { try self.value(child, of: String(type.dropFirst(2)), in: owner, path: "\(path).\(key)", stack: stack) }
        } else if KubernetesFields.types[type] != nil {
            guard case .mapping = value.content else { if isCustom, !stack.contains("metadata") { return } else { throw mismatch("Write \"key: value\" lines, indented below it.") } }
            try object(value, type: type, path: path, stack: stack)
        } else {
            switch (type, value.content) {
            case ("bool", .bool), ("int64", .integer), ("int", .integer), ("float64", .integer), ("float64", .real), ("IntOrString", .string): break
            case ("int32", .integer(let number)), ("IntOrString", .integer(let number)):
                if Int32(exactly: number) == nil { throw mismatch("Write a smaller number.") }
            case ("bytes", .string(let text)):
                if let place = StrictDecoding.corruption(ofBase64: text) {
                    throw InputError(
                        subject: subject,
                        reasons: [
                            InputError(
                                file: value.file, line: value.line, column: value.column, problem: "illegal base64 data at input byte \(place)",
                                fix: "Encode the value, or write it as it is under stringData.")
                        ], at: value)
                }
            case ("Quantity", _):
                do {
                    _ = try ResourceQuantity((try? value.scalarText()) ?? "")
                } catch {
                    throw InputError(
                        subject: subject,
                        reasons: [
                            InputError(
                                file: value.file, line: value.line, column: value.column, problem: error.problem, fix: "Write an amount such as 500m, 2 or 128Mi.")
                        ], at: value)
                }
            case ("bool", _): throw mismatch("Write true or false, without quotation marks.")
            case ("int32", _), ("int64", _), ("int", _): throw mismatch("Write a whole number such as 3.")
            case ("float64", _): throw mismatch("Write a number such as 0.5.")
            case ("IntOrString", _): throw mismatch("Write a number or a name.")
            case (_, .string): break
            case (_, .bool), (_, .integer), (_, .real): throw mismatch("Put it between quotation marks: \"\(value.node.text)\".")
            default: throw mismatch("Write a text.")
            }
        }
    }

    /// `UnmarshalTypeError`.
    private func mismatch(_ value: YAMLValue, _ type: String, _ owner: String, _ stack: [String], _ fix: String) -> InputError {
        let isNumber = type.hasPrefix("int") || type == "IntOrString"
        let found =
            switch value.content {
            case .null: "null"
            case .bool: "bool"
            case .integer(let number): isNumber ? "number \(number)" : "number"
            case .real: isNumber ? "number \(value.node.text)" : "number"
            case .string: "string"
            case .sequence: "array"
            case .mapping: "object"
            }
        let owner = owner.split(separator: ".").last ?? ""
        let problem = "json: cannot unmarshal \(found) into Go struct field \(owner).\(stack.joined(separator: ".")) of type \(StrictDecoding.goName(type))"
        return InputError(subject: subject, reasons: [InputError(file: value.file, line: value.line, column: value.column, problem: problem, fix: fix)], at: value)
    }

    private static func goName(_ type: String) -> String {
        if type.hasPrefix("[]") { return "[]" + goName(String(type.dropFirst(2))) }
        if type.hasPrefix("{}") { return "map[string]" + goName(String(type.dropFirst(2))) }
        if type.hasPrefix("~") { return String(type.dropFirst()) }
        switch type {
        case "IntOrString": return "int32"
        case "bytes": return "[]uint8"
        case "*", "Quantity": return "resource.Quantity"
        default: return KubernetesFields.types[type] == nil ? type : "v1.\(type.split(separator: ".").last ?? "")"
        }
    }

    /// Where Go's decoder gives up (`base64.CorruptInputError`); nil when it does not. Line breaks do not count.
    private static func corruption(ofBase64 text: String) -> Int? {
        var quantum = 0
        var start = 0
        var padding = 0
        for (place, byte) in text.utf8.enumerated() where byte != 10 && byte != 13 {
            if byte == UInt8(ascii: "=") {
                // Two or three characters of four may stand before the padding, and nothing after it.
                guard quantum >= 2 else { return place }
                padding += 1
                quantum += 1
            } else {
                let isDigit = (65...90).contains(byte) || (97...122).contains(byte) || (48...57).contains(byte) || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "/")
                guard isDigit, padding == 0 else { return place }
                if quantum == 0 { start = place }
                quantum += 1
            }
            if quantum == 4 { quantum = 0 }
        }
        return quantum == 0 ? nil : start
    }
}
