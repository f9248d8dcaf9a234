import HairpinCluster
import Testing

private func document(_ text: String) throws -> YAMLValue {
    let documents = try YAMLReader.documents(text: text, file: "x.yaml")
    return try #require(documents.first)
}

private func message(of body: () throws(InputError) -> Void) -> String {
    do throws(InputError) {
        try body()
        return "no error"
    } catch {
        return error.description
    }
}

@Suite struct YAMLTests {
    @Test("every value knows its line, its column and its path")
    func positions() throws {
        let value = try document("a: 1\nspec:\n  ports:\n  - port: 80\n  - port: eighty\n")
        let ports = try #require(value["spec"]?["ports"])
        let port = try #require(try ports.items()[1]["port"])
        #expect(port.line == 5)
        #expect(port.column == 11)
        #expect(port.path == "spec.ports[1].port")
        #expect(
            message { () throws(InputError) in _ = try port.integer() } == "x.yaml:5: spec.ports[1].port: \"eighty\" is not a number. Write a whole number such as 3.")
    }

    @Test(
        "scalars are read as Kubernetes reads them",
        arguments: [
            ("0x10", 16), ("0o17", 15), ("0644", 420), ("-5", -5), ("+7", 7), ("12", 12),
        ])
    func integers(text: String, expected: Int) throws {
        #expect(try document("a: \(text)")["a"]?.integer() == expected)
    }

    @Test("a quoted number is a string and a number without quotation marks is not")
    func strings() throws {
        #expect(try document("a: \"80\"")["a"]?.string() == "80")
        #expect(try document("a: '80'")["a"]?.string() == "80")
        #expect(try document("a: |\n  80\n")["a"]?.string() == "80\n")
        let number = try #require(try document("a: 80")["a"])
        #expect(message { () throws(InputError) in _ = try number.string() } == "x.yaml:1: a: \"80\" is not a string. Put it between quotation marks: \"80\".")
        let truth = try #require(try document("a: yes")["a"])
        #expect(try truth.bool())
        #expect(throws: InputError.self) { try truth.string() }
    }

    @Test("versions, dates and addresses stay strings", arguments: ["1.2.3", "v1", "10.96.0.1", "2024-01-01", "1e", "-", "+", "100m", "12:30"])
    func notNumbers(text: String) throws {
        #expect(try document("a: \"x\"\nb: \(text == "-" ? "\"-\"" : text)")["b"]?.string() == text)
    }

    @Test("an absent key and a null are the same; a required one is named")
    func absent() throws {
        let value = try document("a: null\nb: ~\nc:\nd: {e: 1}")
        for key in ["a", "b", "c", "zz"] { #expect(value[key] == nil) }
        let inner = try #require(value["d"])
        #expect(message { () throws(InputError) in _ = try inner.require("name") } == "x.yaml:4: d.name: is required. Add \"name:\" with a value.")
    }

    @Test("unknown keys suggest the nearest known one")
    func unknownKeys() throws {
        let value = try document("contianers: []")
        #expect(
            message { () throws(InputError) in try value.checkKeys(["containers", "volumes"]) }
                == "x.yaml:1: \"contianers\" is an unknown field. Did you mean \"containers\"?")
        let other = try document("zebra: 1")
        #expect(
            message { () throws(InputError) in try other.checkKeys(["b", "a"]) } == "x.yaml:1: \"zebra\" is an unknown field. The fields known at the top level are a, b."
        )
    }

    @Test(
        "near words: letter case, swaps, one or two slips; nothing far",
        arguments: [
            ("targetport", "targetPort"), ("metdata", "metadata"), ("sepc", "spec"), ("Replicas", "replicas"),
        ])
    func near(word: String, expected: String) {
        #expect(nearestWord(to: word, among: ["spec", "metadata", "targetPort", "replicas"]) == expected)
        #expect(nearestWord(to: "banana", among: ["spec", "metadata"]) == nil)
    }

    @Test("several documents, empty ones among them, and JSON")
    func documents() throws {
        let documents = try YAMLReader.documents(text: "---\n---\na: 1\n---\n# nothing\n---\n{\"b\": [1, 2]}\n...\n", file: "x")
        #expect(documents.count == 2)
        #expect(try documents[1]["b"]?.items().count == 2)
        #expect(documents[0].line == 3)
        #expect(try YAMLReader.documents(text: "", file: "x").isEmpty)
    }

    @Test("anchors, aliases and merge keys")
    func aliases() throws {
        let value = try document("base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\n")
        #expect(try value["use"]?["a"]?.integer() == 1)
        #expect(try value["use"]?["b"]?.integer() == 3)
    }

    @Test(
        "what is not YAML is refused with its line",
        arguments: [
            ("a: b: c", 1, "mapping values are not allowed"),
            ("a:\n\tb: c", 2, "cannot start any token"),
            ("a: \"x\nb: 1\n", 3, "unexpected end of stream"),
            ("a: *nobody", 1, "alias"),
            ("a: 1\nb: 2\na: 3\n", 1, "more than once"),
            ("? [a, b]\n: c\n", 1, "as a key"),
            ("x: \u{7}", 1, "byte 0x07"),
        ])
    func broken(text: String, line: Int, part: String) {
        let error = #expect(throws: InputError.self) { try YAMLReader.documents(text: text, file: "x.yaml") }
        #expect(error?.line == line)
        #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
        #expect(error?.fix.isEmpty == false)
    }

    @Test("bytes that are no text are refused")
    func binary() {
        #expect(throws: InputError.self) { try YAMLReader.documents(bytes: [0x7f, 0x45, 0x4c, 0x46, 0, 1, 2], file: "x") }
        let error = #expect(throws: InputError.self) { try YAMLReader.documents(bytes: Array("a: 1\nb: ".utf8) + [0xff, 0xfe], file: "x") }
        #expect(error?.line == 2)
    }

    @Test(
        "an alias bomb ends at the limit, as values, as merge keys and as keys",
        arguments: [
            ("[%,%,%,%,%,%,%,%,%]", ""), ("{<<: [%,%,%,%,%,%,%,%,%]}", ""), ("[%,%,%,%,%,%,%,%,%]", "*j : boom"), ("[%,%,%,%,%,%,%,%,%]", "? *j\n: boom"),
        ])
    func bomb(level: String, last: String) {
        var text = "a: &a {k: v}\n"
        for (previous, name) in zip("abcdefghi", "bcdefghij") {
            text += "\(name): &\(name) " + level.split(separator: "%", omittingEmptySubsequences: false).joined(separator: "*\(previous)") + "\n"
        }
        let error = #expect(throws: InputError.self) { try YAMLReader.documents(text: text + last, file: "x") }
        #expect(error?.problem.contains("aliases") == true)
    }

    @Test("nesting without end is refused", arguments: ["[", "{a: ", "- ", "? "])
    func deep(opening: String) {
        #expect(throws: InputError.self) { try YAMLReader.documents(text: String(repeating: opening, count: 50_000), file: "x") }
    }

    @Test("a file of fifty megabytes is refused by its size")
    func large() {
        let error = #expect(throws: InputError.self) { try YAMLReader.documents(bytes: [UInt8](repeating: 97, count: 50 << 20), file: "x") }
        #expect(error?.problem.contains("50 MiB") == true)
    }

    @Test("absent files and folders are unreadable")
    func absentFile() {
        #expect(#expect(throws: InputError.self) { try YAMLReader.documents(path: "/nonexistent/web.yaml") }?.kind == .unreadable)
        #expect(#expect(throws: InputError.self) { try YAMLReader.documents(path: "/") }?.kind == .unreadable)
    }

    @Test("errors quote control characters and cut long values")
    func quoting() {
        let error = InputError(file: "f", line: 1, value: "a\n\"" + String(repeating: "x", count: 200), problem: "is wrong", fix: "Do it right.")
        #expect(error.description.hasPrefix("f:1: \"a\\n\\\"xxx"))
        #expect(error.description.hasSuffix("…\" is wrong. Do it right."))
        #expect(error.description.count < 130)
    }
}

@Suite struct JSONValueTests {
    @Test("YAML as kubectl prints it reads back as the same value")
    func roundTrip() throws {
        let value: JSONValue = .object([
            "plain": .string("nginx:1.25"), "number-like": .string("80"), "true-like": .string("yes"), "empty": .string(""), "colon": .string("a: b"),
            "hash": .string("a #b"),
            "star": .string("*x"), "dash": .string("- x"), "lines": .string("one\n  two\n"), "open": .string("no end\nhere"), "date": .string("2025-01-01T00:00:00Z"),
            "quote": .string("it's"),
            "list": .array([.integer(1), .array([.string("nested")]), .object(["a": .null, "b": .bool(false)]), .object([:])]), "none": .array([]), "real": .real(0.5),
            "y": .string("y"),
            "trailing": .string("two\n\n"), "tab": .string("a\tb"), "space": .string(" x "),
        ])
        let read = try YAMLReader.documents(text: value.yaml(), file: "x")
        #expect(JSONValue(try #require(read.first).node) == value, "\(value.yaml())")
        let json = try YAMLReader.documents(text: value.json(), file: "x")
        #expect(JSONValue(try #require(json.first).node) == value)
    }

    @Test("lists are not indented below their key, and keys are sorted")
    func layout() {
        let value: JSONValue = .object(["b": .array([.object(["y": .integer(1), "x": .string("t")])]), "a": .string("1")])
        #expect(value.yaml() == "a: \"1\"\nb:\n- x: t\n  \"y\": 1\n")
        #expect(value.json() == "{\n    \"a\": \"1\",\n    \"b\": [\n        {\n            \"x\": \"t\",\n            \"y\": 1\n        }\n    ]\n}")
    }

    @Test("More entries than any manifest has are refused before they are parsed, with the line where they became too many")
    func entries() throws {
        let keys = (0..<300_000).map { "k\($0): v" }.joined(separator: "\n")
        let error = #expect(throws: InputError.self) { try YAMLReader.documents(text: keys, file: "keys.yaml") }
        #expect(error?.line == 150_001)
        #expect(throws: InputError.self) { try YAMLReader.documents(text: String(repeating: "- a\n", count: 300_000), file: "items.yaml") }
        #expect(try YAMLReader.documents(text: "a: |\n" + String(repeating: "  k: v\n", count: 50_000), file: "text.yaml").count == 1)
    }
}
