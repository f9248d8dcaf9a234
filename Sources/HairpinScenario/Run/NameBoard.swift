import HairpinCluster
import HairpinPrograms

/// What the cluster's DNS servers answer at the moment: they hold the board, the endpoint controller rewrites it.
final class NameBoard {
    var names: ClusterNames
    init(_ names: ClusterNames) { self.names = names }
}
