import HairpinDatapath
import HairpinTransport

/// The settings of a namespace's transport stack by their sysctl(8) names: `net.ipv4.tcp_congestion_control` and its like.
enum TransportSysctls {
    enum Outcome { case done, unknown, noSuchValue, invalid }

    private static func isOfTransport(_ name: String) -> Bool { name.hasPrefix("net.ipv4.tcp_") }

    private static func stack(_ process: LogicalProcess, _ namespace: NamespaceIndex) -> TransportStack? {
        (process.upper as? UpperLayers)?.stack(namespace).takeUnretainedValue()
    }

    static func set(_ name: String, _ value: String, _ process: LogicalProcess, _ namespace: NamespaceIndex) -> Outcome {
        guard isOfTransport(name), let stack = stack(process, namespace) else { return .unknown }
        do throws(TransportSettings.SettingError) {
            try stack.change(name, value)
            return .done
        } catch {
            switch error {
            case .unknown: return .unknown
            // The kernel looks for a module of that name (`tcp_set_default_congestion_control`).
            case .invalid: return name == "net.ipv4.tcp_congestion_control" ? .noSuchValue : .invalid
            }
        }
    }

    static func value(_ name: String, _ process: LogicalProcess, _ namespace: NamespaceIndex) -> String? {
        guard isOfTransport(name), let stack = stack(process, namespace) else { return nil }
        return stack.settings.value(name)
    }
}
