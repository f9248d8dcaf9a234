import HairpinCluster
import Testing

/// A piece of a manifest, and what the API server says of it: nothing when it is right.
struct Verdict: Sendable, CustomTestStringConvertible {
    let text: String
    let reasons: [String]
    init(_ text: String, _ reasons: String...) { (self.text, self.reasons) = (text, reasons) }
    var testDescription: String { text }
}

/// `path: reason` for each reason to reject, without the hints that Hairpin adds; empty when the manifest is accepted.
func reasons(_ text: String) -> [String] {
    do {
        _ = try load(text)
        return []
    } catch let error as InputError {
        return (error.reasons.isEmpty ? [error] : error.reasons).map { $0.path.isEmpty ? $0.problem : "\($0.path): \($0.problem)" }
    } catch { return ["\(error)"] }
}

/// What the formats of names say.
enum Format {
    static let label =
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    static let subdomain =
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    static let label1035 =
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    static let labelValue =
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    static let namePart =
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    static let percent = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
    static let configKey =
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    static let address = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    static let prefix = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    static let port = "must be between 1 and 65535, inclusive"
}
