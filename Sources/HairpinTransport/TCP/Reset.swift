import HairpinEngine
import HairpinWire

extension TransportStack {
    /// The reset for a segment that belongs to no connection (RFC 9293 §3.10.7.1, `tcp_v4_send_reset`): no options, window 0, no identification.
    func sendReset(to segment: Segment) {
        guard !segment.isReset else { return }
        var flags: TCPFlags = .rst
        var sequence = SequenceNumber(0)
        var acknowledgment = SequenceNumber(0)
        if segment.isACK {
            sequence = segment.acknowledgment
        } else {
            flags.insert(.ack)
            acknowledgment = segment.end
        }
        statistics.resetsSent += 1
        sendBare(
            from: segment.destination, segment.destinationPort, to: segment.source, segment.sourcePort, sequence: sequence, acknowledgment: acknowledgment,
            flags: flags, window: 0, stamps: nil, typeOfService: 0)
    }

    /// A segment of no socket.
    func sendBare(
        from source: IPv4Address, _ sourcePort: UInt16, to destination: IPv4Address, _ destinationPort: UInt16, sequence: SequenceNumber,
        acknowledgment: SequenceNumber, flags: TCPFlags, window: UInt16, stamps: (value: UInt32, echo: UInt32)?, typeOfService: UInt8
    ) {
        let count = 20 + (stamps == nil ? 0 : OptionSize.timestamps)
        guard let packet = network.allocate(count), let p = packet.payload.baseAddress else { return }
        p.put(sourcePort, at: TCPOffset.sourcePort)
        p.put(destinationPort, at: TCPOffset.destinationPort)
        p.put(sequence.rawValue, at: TCPOffset.sequence)
        p.put(acknowledgment.rawValue, at: TCPOffset.acknowledgment)
        p.put(UInt8((count / 4) << 4), at: TCPOffset.dataOffset)
        p.put(flags.rawValue, at: TCPOffset.flags)
        p.put(window, at: TCPOffset.window)
        p.put(UInt32(0), at: TCPOffset.checksum)
        if let stamps {
            p.put(UInt32(0x0101_080a), at: 20)
            p.put(stamps.value, at: 24)
            p.put(stamps.echo, at: 28)
        }
        p.put(
            InternetChecksum.checksum(
                UnsafeRawBufferPointer(start: p, count: count),
                initial: InternetChecksum.pseudoHeader(source: source, destination: destination, protocol: IPProtocol.tcp.rawValue, length: count)),
            at: TCPOffset.checksum)
        var request = SendRequest(source: source, destination: destination, proto: .tcp)
        request.dontFragment = true
        request.identification = .zero
        request.typeOfService = typeOfService
        request.timeToLive = settings.ip_default_ttl
        statistics.segmentsSent += 1
        network.send(packet, request)
    }

    /// Our own abort (`tcp_send_active_reset`): current numbers, window and timestamps.
    func sendReset(_ e: EndpointPointer) {
        statistics.resetsSent += 1
        transmit(e, sequence: acceptableSequence(e), count: 0, flags: [.rst, .ack])
    }
}
