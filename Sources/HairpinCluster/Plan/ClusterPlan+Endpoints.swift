import HairpinWire

extension ClusterPlan {
    /// What the EndpointSlice controller makes of the pods' readiness, with the slices written by hand. In the order of the Services.
    ///
    /// `terminating` pods are those being deleted; among them those in `serving` still pass their readiness probe.
    public func endpointSlices(
        readyPods: Set<ObjectKey>, terminating: Set<ObjectKey> = [], serving: Set<ObjectKey> = [], finished: Set<ObjectKey> = []
    ) -> [EndpointSlice] {
        var controller = EndpointController()
        controller.follow(self) { pod in
            EndpointController.PodState(
                isListed: !finished.contains(pod.key), isReady: readyPods.contains(pod.key), isServing: serving.contains(pod.key),
                isTerminating: terminating.contains(pod.key))
        }
        return controller.slices(in: self)
    }
}
