// HairpinPolicy: who may send to whom, decided from addresses alone.
//
//   PolicyTable      pods, the policies that isolate them in either direction, and the rules that let traffic through
//   PolicyFlow       who begins a conversation with whom: addresses as the policed pod has them, protocol, destination port
//   PolicyDecision   both sides of a flow, each with the policy and rule that decided it
//
// HairpinCluster compiles the table from NetworkPolicy objects, pods and namespaces; selectors are resolved there and nothing here knows a label.
// The packet filter of a node and the reachability matrix ask the same table the same question, so they cannot disagree.
