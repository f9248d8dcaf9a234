// HairpinTopology: a network as it stands before the first packet, in the words of `ip`, `iptables-save` and `ipvsadm`.
//
//   Topology          hosts (nodes, pods, switches, outside machines) with interfaces, routes, neighbours, rules, virtual servers, sysctls
//   LinkDescription   rate, delay and queue of a cable
//
// HairpinCluster writes it from manifests, HairpinConformance from a recording's scenario.json; HairpinHost builds it. Values only: nothing
// here runs.
