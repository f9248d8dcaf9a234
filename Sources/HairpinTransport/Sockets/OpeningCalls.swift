import HairpinEngine
import HairpinWire

/// Calls that open or close a connection in less usual ways.
extension TransportStack {
    /// Whether the next send(2) on the socket opens its connection (TCP_FASTOPEN_CONNECT deferred it).
    public func opensOnSend(_ socket: SocketID) -> Bool { false }

    /// sendto(2) with MSG_FASTOPEN. Returns how many bytes went with the SYN, or are queued.
    public func sendOpening(_ socket: SocketID, _ bytes: ArraySlice<UInt8>, to address: SocketAddress?) throws(Errno) -> Int { throw .notSupported }

    /// connect(2) with AF_UNSPEC (`tcp_disconnect`).
    public func disconnect(_ socket: SocketID) throws(Errno) { throw .notSupported }
}
