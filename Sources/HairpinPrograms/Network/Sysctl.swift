/// sysctl(8): `sysctl NAME…` reads, `sysctl -w NAME=VALUE…` writes, as procps prints them.
enum Sysctl {
    static func program(_ arguments: [String]) -> any Program {
        Immediate { system in
            var status: Int32 = 0
            var isQuiet = false, valuesOnly = false
            for word in arguments {
                if word.hasPrefix("-") {
                    isQuiet = isQuiet || word.contains("q")
                    valuesOnly = valuesOnly || word.contains("n")
                    continue
                }
                let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
                let name = parts[0].split(separator: "/").joined(separator: ".")
                if word.contains("=") {
                    let result = Firewall.apply(["sysctl", "-w", "\(name)=\(parts.count == 2 ? parts[1] : "")"], system)
                    if result != 0 { status = result } else if !isQuiet { system.writeOutput(valuesOnly ? "\(parts[1])\n" : "\(name) = \(parts[1])\n") }
                } else if let value = system.sysctl(name) {
                    system.writeOutput(valuesOnly ? "\(value)\n" : "\(name) = \(value)\n")
                } else {
                    system.writeError("sysctl: cannot stat /proc/sys/\(name.split(separator: ".").joined(separator: "/")): No such file or directory\n")
                    status = 255
                }
            }
            return status
        }
    }
}
