import HairpinEngine
import HairpinWire

/// What a capture session writes, and about what.
public struct CaptureOptions: Sendable {
    /// Where each interface's own pcap goes.
    public enum PerInterface: Sendable, Equatable {
        case none
        /// `HOST-IFACE.pcap` in this folder, which must exist.
        case directory(String)
        case memory
    }
    /// What becomes of frames that end.
    public enum Drops: Sendable {
        /// The sight of the frame gets the reason as comment and verdict, in the pcapng. No frame is added.
        case annotate
        /// Frames that end before any tap showed them get a record in the pcapng too; it then holds more than a wire would show.
        case record
    }

    /// The pcapng of all interfaces.
    public var combined: CaptureDestination?
    public var perInterface = PerInterface.none
    public var filter: CaptureFilter?
    public var interfaces: [InterfacePattern] = [InterfacePattern("*")]
    public var drops = Drops.annotate
    /// Whether the pcapng names packets across hops.
    public var packetIDs = true
    /// Bytes kept of each frame.
    public var snapLength = 262_144
    public var section = PcapngSection(application: "Hairpin")
    /// For the name resolution block, beside the hosts' own names.
    public var names: [(address: IPv4Address, name: String)] = []
    /// What is added to virtual time in the files: zero shows 1970.
    public var epoch = Duration.zero
    public init() {}
}
