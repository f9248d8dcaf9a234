// HairpinCluster: Kubernetes' nouns, and what the control plane makes of them.
//
//   YAML/       documents whose every value knows its file and line; errors that name the fix
//   Manifest/   files and folders into `Manifests`; the fields Kubernetes knows, so that a typo is an error
//   Validation/ what the API server would reject, by kind, in its words
//   Objects/    Pod template, workloads, Service, and the rest, as manifests write them
//   Plan/       controllers, scheduler and allocators in one deterministic pass: pods on nodes, addresses, endpoints, what containers find
//   Network/    the plan as a `Topology`: cables, addresses, routes; kube-proxy's rules in iptables and IPVS mode; what DNS answers
//   Policy/     NetworkPolicies as a table of who may send to whom; the reachability matrix
//   Get/        objects as kubectl prints them
//
// Manifests come in at `ManifestLoader`, become a `ClusterPlan` in `ClusterPlanner.plan`, and leave as `ClusterPlan.topology`. No packets and
// no time here: when a pod becomes ready is HairpinScenario's affair.
