/// Names and labels where Hairpin's own words ask for them; `Formats` has the API server's.
enum Names {
    static func isSubdomain(_ text: String) -> Bool { Formats.subdomain(text).isEmpty }

    static func subdomain(_ value: YAMLValue) throws(InputError) -> String {
        let text = try value.string()
        guard isSubdomain(text) else {
            let example = ObjectValidation.suggestion(text, Formats.subdomain)
            throw value.error(
                problem: "is not a lowercase RFC 1123 subdomain",
                fix: (example.isEmpty ? "" : example + " ") + "Use lower case letters, digits, \"-\" and \".\", and begin and end with a letter or a digit.")
        }
        return text
    }
    static func labels(_ value: YAMLValue?) throws(InputError) -> [String: String] {
        guard let value else { return [:] }
        return Dictionary(try value.stringMap().map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
    }
    static func labelValue(_ value: YAMLValue) throws(InputError) -> String {
        let text = try value.string()
        guard Formats.labelValue(text).isEmpty else {
            throw value.error(
                problem: "is not a valid label value", fix: "Use at most 63 letters, digits, \"-\", \"_\" and \".\", and begin and end with a letter or a digit.")
        }
        return text
    }
}
