// HairpinTransport: TCP, UDP and ICMP echo without I/O.
//
//   TransportStack    the sockets of one network namespace; where packets and expired timers come in
//   TransportSettings the net.ipv4.tcp_… settings that are modelled
//   Sockets/          the Berkeley calls, socket table, ports, demultiplexing, buffers, the timer queue
//   Sockets/SNMPCounters.swift, TCPProbe.swift   what is counted, and traced, under the kernel's names
//   Sockets/NetworkLayer.swift   what the stack needs from below: routes, packets, one deadline, readiness
//   TCP/              one mechanism a file: Handshake, FastOpen, Receive, Acknowledgments, Scoreboard, Reassembly, AckPolicy, Segmenter, Transmit,
//                     Window, Congestion, Cubic, ECN, Recovery, RACK, Retransmission, RoundTripTime, Timers, Chronograph, Errors, Reset, Close, TimeWait
//   UDP/ ICMP/        datagrams, and ping's echo sockets
//
// A packet comes in at `TransportStack.receive`, a program's bytes at `send`; segments leave through `NetworkLayer.send`. Time is a parameter.
// It knows no frames, interfaces, namespaces or processes, so it runs in a unit test without a network.
