import HairpinEngine

/// The cells of a pod's line, worked out as kubectl's server-side printer does.
struct PrintedPod {
    var ready: String
    var status: String
    var restarts: String

    init(_ pod: PlannedPod, _ state: PodStatus, now: Instant) {
        let sidecars = Set(pod.template.initContainers.filter(\.isSidecar).map(\.name))
        var readyCount = 0
        var restartCount = 0
        var lastRestart: Instant?
        func count(_ container: ContainerStatus) {
            restartCount += container.restarts
            if let finished = container.lastTermination?.finished, container.restarts > 0 { lastRestart = max(lastRestart ?? finished, finished) }
        }
        var reason = state.reason ?? state.phase.rawValue
        var isInitializing = false
        for (index, container) in state.initContainers.enumerated() {
            count(container)
            let isSidecar = sidecars.contains(container.name)
            if isSidecar, container.ready { readyCount += 1 }
            guard !isInitializing else { continue }
            switch container.state {
            case .terminated(exitCode: 0, _, _, _): continue
            case .running where isSidecar: continue
            case .terminated(let code, let why, _, _): reason = "Init:" + (why.isEmpty ? "ExitCode:\(code)" : why)
            case .waiting(let why, _) where !why.isEmpty && why != "PodInitializing": reason = "Init:" + why
            default: reason = "Init:\(index)/\(state.initContainers.count)"
            }
            isInitializing = true
        }
        if !isInitializing {
            var hasRunning = false
            for container in state.containers.reversed() {
                count(container)
                switch container.state {
                case .waiting(let why, _): if !why.isEmpty { reason = why }
                case .terminated(let code, let why, _, _): reason = why.isEmpty ? "ExitCode:\(code)" : why
                case .running:
                    if container.ready {
                        hasRunning = true
                        readyCount += 1
                    }
                }
            }
            // A pod whose last container has completed is still running while others are.
            if reason == "Completed", hasRunning { reason = state.isReady ? "Running" : "NotReady" }
        }
        if state.isTerminating { reason = "Terminating" }
        ready = "\(readyCount)/\(pod.template.containers.count + sidecars.count)"
        status = reason
        restarts = String(restartCount)
        if restartCount > 0, let lastRestart { restarts += " (\(Age.text(now - lastRestart)) ago)" }
    }
}

/// Durations and times as kubectl writes them.
enum Age {
    static func text(_ age: Duration) -> String {
        let seconds = Int(age.nanoseconds / 1_000_000_000)
        if seconds < 0 { return seconds < -1 ? "<invalid>" : "0s" }
        func pair(_ large: Int, _ unit: String, _ small: Int, _ smallUnit: String) -> String { small == 0 ? "\(large)\(unit)" : "\(large)\(unit)\(small)\(smallUnit)" }
        let minutes = seconds / 60
        let hours = minutes / 60
        let days = hours / 24
        if seconds < 120 { return "\(seconds)s" }
        if minutes < 10 { return pair(minutes, "m", seconds % 60, "s") }
        if minutes < 180 { return "\(minutes)m" }
        if hours < 8 { return pair(hours, "h", minutes % 60, "m") }
        if hours < 48 { return "\(hours)h" }
        if days < 8 { return pair(days, "d", hours % 24, "h") }
        if days < 730 { return "\(days)d" }
        if days < 365 * 8 { return pair(days / 365, "y", days % 365, "d") }
        return "\(days / 365)y"
    }

    /// RFC 3339. Virtual time begins with the year 2024, as it does for the programs in pods and in captures.
    static func timestamp(_ instant: Instant) -> String {
        let seconds = Int(instant.nanoseconds / 1_000_000_000)
        var day = seconds / 86400
        var year = 2024
        func length(_ year: Int) -> Int { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 366 : 365 }
        while day >= length(year) {
            day -= length(year)
            year += 1
        }
        var month = 0
        let months = [31, length(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        while day >= months[month] {
            day -= months[month]
            month += 1
        }
        func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
        return "\(year)-\(two(month + 1))-\(two(day + 1))T\(two(seconds / 3600 % 24)):\(two(seconds / 60 % 60)):\(two(seconds % 60))Z"
    }
}
