// HairpinDatapath: the packet path of a Linux node, and the machine that runs it.
//
//   LogicalProcess    a node with its pods on one virtual processor: clock, event queue, backlog, softirqs, books
//   Builder           what `ip link`, `ip addr`, `ip route` and `sysctl` do; reading the state back
//   Namespace         a pod's network, or the node's own: addresses, routes, rules, settings
//   Frame/            frames in a slab pool, named by handles; clones share their bytes
//   Interface/        lo, veth, bridge and dummy devices, cables with rate, delay and faults
//   Bridge/           learning, flooding, hairpin mode; IP's netfilter hooks for bridged frames
//   Netfilter/        the five hooks: rules, connection tracking, NAT, virtual servers
//   Neighbour/        ARP and the states of neighbour entries
//   Route/            longest prefix, source checks, choice of source address
//   IP/               input, local delivery, forwarding, output, fragments, ICMP errors
//   Tap               where observers look            Drop   every way a frame can end, with counters
//
// A frame enters at `send` (a packet of a stack's own), at `inject` (from another logical process) or at `transmitRaw`; it leaves to
// `UpperLayer.deliver`, to the outbox, or in `drop` under a named reason. One module on purpose: the hot path crosses no module boundary.
// It knows nothing of sockets, programs, pods or Services.
