import HairpinEngine
import HairpinTransport
import HairpinWire

/// The lines of iperf3's report (iperf_locale.c, units.c).
enum IPerfReport {
    static let separator = "- - - - - - - - - - - - - - - - - - - - - - - - -\n"
    static let dashes = "-----------------------------------------------------------\n"
    static let header = "[ ID] Interval           Transfer     Bitrate\n"
    static let senderHeader = "[ ID] Interval           Transfer     Bitrate         Retr  Cwnd\n"
    static let retransmitHeader = "[ ID] Interval           Transfer     Bitrate         Retr\n"
    static let datagramHeader = "[ ID] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams\n"
    static let datagramSenderHeader = "[ ID] Interval           Transfer     Bitrate         Total Datagrams\n"

    /// `unit_snprintf`: four places and a unit; an upper case format letter is for bytes (1024), a lower case one for bits (1000).
    static func unit(_ bytes: Double, _ format: Character) -> String {
        let isBytes = format.isUppercase
        let step = isBytes ? 1024.0 : 1000.0
        var value = isBytes ? bytes : bytes * 8
        var index = 0
        if let fixed = ["K", "M", "G", "T"].firstIndex(of: format.uppercased()) {
            for _ in 0...fixed { value /= step }
            index = fixed + 1
        } else {
            while value >= step, index < 4 {
                value /= step
                index += 1
            }
        }
        let label = (isBytes ? ["Byte", "KByte", "MByte", "GByte", "TByte"] : ["bit", "Kbit", "Mbit", "Gbit", "Tbit"])[index]
        return "\(leftPadded(fixed(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0), 4)) \(label)s"
    }

    /// Before transfers, as `[%3d]   0.00-1.00   sec  `.
    static func prefix(_ label: String, from start: Double, to end: Double) -> String {
        "[\(leftPadded(label, 3))] \(leftPadded(fixed(start, 2), 6))-\(padded(fixed(end, 2), 6)) sec  "
    }

    /// Transfer and bit rate.
    static func rate(_ bytes: Int, seconds: Double, _ format: Character) -> String {
        "\(unit(Double(bytes), "A"))  \(unit(seconds > 0 ? Double(bytes) / seconds : 0, format))/sec"
    }

    /// `%.2g` of a share in per cent.
    static func percent(_ part: Int, of whole: Int) -> String {
        guard whole > 0, part > 0 else { return "0" }
        let value = 100 * Double(part) / Double(whole)
        if value >= 99.5 { return "1e+02" }
        if value >= 9.95 { return fixed(value, 0) }
        var places = value >= 0.995 ? 1 : 2
        var threshold = 0.0995
        while value < threshold, places < 6 {
            places += 1
            threshold /= 10
        }
        var text = fixed(value, places)
        while text.contains("."), text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text
    }
}

/// A stream of a test at one of its ends, and what it has counted.
struct IPerfStream {
    var socket: SocketID
    /// As the report names it.
    var number: Int
    var local = SocketAddress(.any, 0)
    var remote = SocketAddress(.any, 0)
    var bytes = 0
    var intervalBytes = 0
    var isOpen = true
    // TCP, from TCP_INFO of the sender.
    var retransmits = 0
    var intervalRetransmits = 0
    var window = 0
    var maximumWindow = 0, maximumPeerWindow = 0
    var minimumRTT = 0, maximumRTT = 0, summedRTT = 0, samples = 0
    // UDP.
    var packets = 0
    var intervalPackets = 0
    var lost = 0
    var intervalLost = 0
    var outOfOrder = 0
    /// In seconds (RFC 1889 §6.3.1).
    var jitter = 0.0
    var transit: Double?
    var info: JSON = .null

    init(socket: SocketID, number: Int) { (self.socket, self.number) = (socket, number) }

    var heading: String {
        "[\(leftPadded(number, 3))] local \(local.address) port \(local.port) connected to \(remote.address) port \(remote.port)\n"
    }

    /// A datagram has come: its number and when it was sent, in seconds.
    mutating func note(number: Int, sentAt: Double, now: Double) {
        if number >= packets + 1 {
            if number > packets + 1 {
                lost += number - 1 - packets
                intervalLost += number - 1 - packets
            }
            intervalPackets += number - packets
            packets = number
        } else {
            outOfOrder += 1
            if lost > 0 {
                lost -= 1
                intervalLost -= intervalLost > 0 ? 1 : 0
            }
        }
        let trip = now - sentAt
        if let transit { jitter += ((trip > transit ? trip - transit : transit - trip) - jitter) / 16 }
        transit = trip
    }

    /// What each side tells the other at the end (`send_results`).
    func results(isSender: Bool, isUDP: Bool, seconds: Double) -> JSON {
        .make([
            ("id", .int(number)), ("bytes", .int(bytes)), ("retransmits", .int(isSender && !isUDP ? retransmits : -1)), ("jitter", .double(jitter)), ("errors", .int(lost)),
            ("packets", .int(packets)), ("start_time", .int(0)), ("end_time", .double(seconds)),
        ])
    }
}
