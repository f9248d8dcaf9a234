// swift-tools-version: 6.1
import PackageDescription

// One module per layer; a frame's path goes down the list. `TidyTests` checks that nothing imports upwards.
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6)]

func library(_ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource]? = nil) -> Target {
    .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: strict)
}

let package = Package(
    name: "hairpin",
    products: [
        .executable(name: "hairpin", targets: ["hairpin"]),
        .library(name: "Hairpin", targets: ["HairpinWire", "HairpinEngine", "HairpinDatapath", "HairpinTransport", "HairpinHost", "HairpinCapture"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        // Instructions that Swift has no name for: to wait, to ask for memory in advance, to add many words at once.
        .systemLibrary(name: "CProcessor"),
        // Bytes and time.
        library("HairpinWire", ["CProcessor"]),
        library("HairpinEngine"),
        // Who may send to whom, for the packet filter and for whoever asks without a packet.
        library("HairpinPolicy", ["HairpinWire"]),
        // The kernel's packet path, and the protocols on top of it.
        library("HairpinProxy", ["HairpinWire", "HairpinEngine", "CProcessor"]),
        library("HairpinDatapath", ["HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "CProcessor"]),
        library("HairpinTransport", ["HairpinWire", "HairpinEngine"]),
        // What runs in pods, and the machines that run it.
        library("HairpinPrograms", ["HairpinWire", "HairpinEngine", "HairpinTransport"]),
        library("HairpinTopology", ["HairpinWire", "HairpinEngine", "HairpinProxy"]),
        library(
            "HairpinHost",
            [
                "HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "HairpinTopology", "HairpinDatapath", "HairpinTransport", "HairpinPrograms",
                "CProcessor",
            ]),
        // Kubernetes.
        library(
            "HairpinCluster",
            [
                "HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "HairpinTopology",
                .product(name: "Yams", package: "Yams"), .product(name: "OrderedCollections", package: "swift-collections"),
            ]),
        // Observation.
        .systemLibrary(name: "CLibPCAP", pkgConfig: "libpcap", providers: [.apt(["libpcap-dev"]), .brew(["libpcap"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
        library("HairpinCapture", ["CLibPCAP", "CZlib", "HairpinWire", "HairpinEngine", "HairpinDatapath", .product(name: "SystemPackage", package: "swift-system")]),
        // What malloc says of itself, for benchmarks.
        .systemLibrary(name: "CMalloc"),
        // What people type.
        library(
            "HairpinScenario",
            [
                "HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "HairpinTopology", "HairpinDatapath", "HairpinHost", "HairpinPrograms",
                "HairpinCluster", "HairpinCapture",
                .product(name: "Logging", package: "swift-log"), .product(name: "Yams", package: "Yams"),
            ], resources: [.copy("Builtin")]),
        library(
            "HairpinConformance",
            [
                "HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinPolicy", "HairpinTopology", "HairpinDatapath", "HairpinTransport", "HairpinHost",
                "HairpinPrograms", "HairpinCluster", "HairpinCapture",
            ]),
        library(
            "HairpinBenchmarks",
            [
                "HairpinWire", "HairpinEngine", "HairpinProxy", "HairpinTopology", "HairpinDatapath", "HairpinTransport", "HairpinHost", "HairpinPrograms",
                "HairpinCluster", "HairpinCapture", "CMalloc",
            ]),
        .executableTarget(
            name: "hairpin",
            dependencies: [
                "HairpinScenario", "HairpinCluster", "HairpinConformance", "HairpinBenchmarks", "HairpinProxy",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: strict),
        // Tests, one target per layer.
        tests("HairpinWireTests", ["HairpinWire"]),
        tests("HairpinEngineTests", ["HairpinEngine"]),
        tests("HairpinProxyTests", ["HairpinProxy", "HairpinWire"]),
        tests("HairpinPolicyTests", ["HairpinPolicy", "HairpinWire"]),
        tests("HairpinDatapathTests", ["HairpinDatapath", "HairpinProxy", "HairpinPolicy", "HairpinWire", "HairpinEngine"]),
        tests("HairpinTransportTests", ["HairpinTransport", "HairpinWire", "HairpinEngine"]),
        tests("HairpinProgramsTests", ["HairpinPrograms", "HairpinTransport", "HairpinWire", "HairpinEngine"]),
        tests("HairpinClusterTests", ["HairpinCluster", "HairpinProxy", "HairpinPolicy", "HairpinTopology", "HairpinWire", "HairpinEngine"]),
        tests("HairpinCaptureTests", ["HairpinCapture", "HairpinWire", "HairpinEngine", "HairpinDatapath"]),
        tests(
            "SimulationTests",
            [
                "HairpinScenario", "HairpinCluster", "HairpinProxy", "HairpinHost", "HairpinDatapath", "HairpinPolicy", "HairpinTopology", "HairpinWire", "HairpinEngine",
                "HairpinCapture", "HairpinPrograms",
            ]),
        tests("ConformanceTests", ["HairpinConformance", "HairpinProxy"], resources: [.copy("Packetdrill"), .copy("PacketdrillCurrentKernel")]),
        tests("HairpinBenchmarksTests", ["HairpinBenchmarks", "HairpinDatapath", "HairpinWire", "HairpinEngine"]),
        tests("TidyTests", []),
    ]
)
