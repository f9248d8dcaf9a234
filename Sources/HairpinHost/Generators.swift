import HairpinDatapath
import HairpinEngine

/// What a packet generator sends, how often and to whom.
public struct GeneratorDescription {
    /// Of whole frames, Ethernet header included, 14 to 65 550.
    public var byteCount = 64
    /// Mean of the exponentially distributed time between frames; above zero.
    public var meanGap = Duration.microseconds(10)
    public var pattern = GeneratorPattern.uniform
    /// The generator's own number among `stations`.
    public var station: Int
    /// Two or more; several generators may share the list.
    public var stations: StationList
    public var gaps: ExponentialTable
    public init(station: Int, stations: StationList, gaps: ExponentialTable) {
        self.station = station
        self.stations = stations
        self.gaps = gaps
    }
}

extension Simulation {
    /// Puts a packet generator, as Linux's pktgen is, on an interface; its first frame leaves one gap from now. False if there is no such interface.
    @discardableResult
    public func startGenerator(on host: String, interface: String, _ description: GeneratorDescription) -> Bool {
        guard let place = places[host], let device = kernels[place.kernel].process.findInterface(interface, namespace: place.namespace) else { return false }
        let process = kernels[place.kernel].process!
        process.startGenerator(
            process.makeGenerator(
                on: device, byteCount: description.byteCount, meanGap: description.meanGap, pattern: description.pattern, station: description.station,
                stations: description.stations, gaps: description.gaps))
        return true
    }

    /// Ends every frame that reaches an interface, and is for it, in a packet socket. False if there is no such interface.
    @discardableResult
    public func setAbsorbing(_ isAbsorbing: Bool, host: String, interface: String) -> Bool {
        guard let place = places[host], let device = kernels[place.kernel].process.findInterface(interface, namespace: place.namespace) else { return false }
        kernels[place.kernel].process.setAbsorbing(device, isAbsorbing)
        return true
    }
}
