import HairpinDatapath
import HairpinEngine
import HairpinPrograms
import HairpinTransport
import HairpinWire

// A call that sends something lets the softirqs it raised run before it returns, as `local_bh_enable` does at the end of a system call: on one
// processor the peer's acknowledgement is there before the program makes its next call.
extension Process {
    private func call<T>(_ body: (TransportStack) throws(Errno) -> T) throws(Errno) -> T {
        // The result of a failed call leaves softirqs as well.
        defer { logicalProcess.runSoftirqs() }
        return try body(stack)
    }

    func socket(_ kind: SocketKind) throws(Errno) -> SocketID {
        let socket = try stack.socket(kind)
        ownedSockets.insert(socket)
        return socket
    }

    func setOption(_ socket: SocketID, _ option: SocketOption) throws(Errno) { try stack.setOption(socket, option) }
    func bind(_ socket: SocketID, _ address: SocketAddress) throws(Errno) { try stack.bind(socket, address) }
    func listen(_ socket: SocketID, backlog: Int) throws(Errno) { try stack.listen(socket, backlog: backlog) }

    func accept(_ socket: SocketID) throws(Errno) -> (SocketID, SocketAddress) {
        let (accepted, peer) = try stack.accept(socket)
        ownedSockets.insert(accepted)
        return (accepted, peer)
    }

    func connect(_ socket: SocketID, _ address: SocketAddress) throws(Errno) { try call { stack throws(Errno) in try stack.connect(socket, address) } }
    func send(_ socket: SocketID, _ bytes: ArraySlice<UInt8>) throws(Errno) -> Int { try call { stack throws(Errno) in try stack.send(socket, bytes) } }
    func receive(_ socket: SocketID, _ count: Int) throws(Errno) -> [UInt8] { try call { stack throws(Errno) in try stack.receive(socket, count) } }
    func send(_ socket: SocketID, from bytes: UnsafeRawBufferPointer) throws(Errno) -> Int {
        defer { logicalProcess.runSoftirqs() }
        return try stack.send(socket, raw: bytes)
    }
    func receive(_ socket: SocketID, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        defer { logicalProcess.runSoftirqs() }
        return try stack.receive(socket, into: buffer)
    }
    func send(_ socket: SocketID, _ bytes: [UInt8], to address: SocketAddress) throws(Errno) {
        try call { stack throws(Errno) in try stack.send(socket, bytes, to: address) }
    }
    func receiveMessage(_ socket: SocketID) throws(Errno) -> ReceivedMessage { try stack.receiveMessage(socket) }
    func sendEcho(_ socket: SocketID, to address: IPv4Address, sequence: UInt16, payload: [UInt8]) throws(Errno) {
        try call { stack throws(Errno) in try stack.sendEcho(socket, to: address, sequence: sequence, payload: payload) }
    }
    func shutdown(_ socket: SocketID, read: Bool, write: Bool) throws(Errno) { try call { stack throws(Errno) in try stack.shutdown(socket, read: read, write: write) } }

    func close(_ socket: SocketID) {
        ownedSockets.remove(socket)
        stack.close(socket)
        logicalProcess.runSoftirqs()
    }

    func readiness(_ socket: SocketID) -> Readiness { stack.readiness(socket) }
    func takeError(_ socket: SocketID) -> Errno? { stack.takeError(socket) }
    func takeQueuedError(_ socket: SocketID) -> ReceivedError? { stack.takeQueuedError(socket) }
    func localAddress(_ socket: SocketID) -> SocketAddress? { stack.localAddress(socket) }
    func remoteAddress(_ socket: SocketID) -> SocketAddress? { stack.remoteAddress(socket) }
    func sockets() -> [SocketInformation] { stack.sockets() }
    func tcpInformation(_ socket: SocketID) -> TCPInformation? { stack.tcpInformation(socket) }
    func setCongestionControl(_ socket: SocketID, _ name: String) throws(Errno) { try stack.setCongestionControl(socket, name) }
    func congestionControl(_ socket: SocketID) -> String? { stack.congestionControl(socket) }
    func transportStatistics() -> TransportStatistics? { stack.counters }
}
