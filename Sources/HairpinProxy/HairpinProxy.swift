/// kube-proxy: what one node does with packets to Services.
///
/// - `Model`: what kube-proxy is told. Settings of the node, Service ports, endpoints; IPv4 and IPv6 alike.
/// - `Decide`: `ServiceTable`, the one compiled decision, and its answers hook by hook. The datapath asks it for every first packet; `trace` and
///   the conformance suite ask it the same questions in the same order.
/// - `Print`: what iptables-save, nft and ipvsadm would show of the same table. Text is made when somebody asks for it, never for a packet.
///
/// It knows no frames, no clocks and no random numbers: choosing one of several endpoints is the caller's.
public enum HairpinProxy {}
