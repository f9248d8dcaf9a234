/// The errors of the Berkeley socket calls, with Linux's numbers and the words of strerror(3).
public struct Errno: Error, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: Int32
    public init(_ rawValue: Int32) { self.rawValue = rawValue }

    public static let badFileDescriptor = Errno(9), tryAgain = Errno(11), exists = Errno(17), invalid = Errno(22), brokenPipe = Errno(32)
    public static let destinationRequired = Errno(89), messageTooLong = Errno(90), noProtocolOption = Errno(92), notSupported = Errno(95)
    public static let addressInUse = Errno(98), addressNotAvailable = Errno(99), networkUnreachable = Errno(101), connectionAborted = Errno(103)
    public static let connectionReset = Errno(104), noBuffers = Errno(105), alreadyConnected = Errno(106), notConnected = Errno(107)
    public static let timedOut = Errno(110), connectionRefused = Errno(111), hostDown = Errno(112), hostUnreachable = Errno(113)
    public static let already = Errno(114), inProgress = Errno(115), notPermitted = Errno(1), protocolError = Errno(71), noProtocol = Errno(93)

    private static let words: [Int32: String] = [
        1: "Operation not permitted", 9: "Bad file descriptor", 11: "Resource temporarily unavailable", 17: "File exists", 22: "Invalid argument", 32: "Broken pipe",
        71: "Protocol error", 89: "Destination address required", 90: "Message too long", 92: "Protocol not available", 93: "Protocol not supported",
        95: "Operation not supported", 98: "Address already in use", 99: "Cannot assign requested address", 101: "Network is unreachable",
        103: "Software caused connection abort", 104: "Connection reset by peer", 105: "No buffer space available",
        106: "Transport endpoint is already connected", 107: "Transport endpoint is not connected", 110: "Connection timed out",
        111: "Connection refused", 112: "Host is down", 113: "No route to host", 114: "Operation already in progress", 115: "Operation now in progress",
    ]
    public var description: String { Errno.words[rawValue] ?? "Unknown error \(rawValue)" }
}
