extension ClusterPlanner {
    /// What every cluster has: the Service of the API server and, unless switched off, CoreDNS and its Service.
    mutating func addSystemObjects() throws(InputError) {
        var loader = ManifestLoader()
        if !manifests.services.contains(where: { $0.metadata.key == ObjectKey(namespace: "default", name: "kubernetes") }) {
            try loader.load(text: Self.apiServer(address: configuration.apiServerAddress.description, node: nodes[0].address.description), file: "")
        }
        let hasOwnDNS = manifests.services.contains { $0.metadata.key == ObjectKey(namespace: "kube-system", name: "kube-dns") }
        if configuration.hasDNS, !hasOwnDNS {
            try loader.load(text: Self.clusterDNS(address: configuration.dnsAddress.description, node: nodes[0].name), file: "")
        }
        manifests.services = loader.manifests.services + manifests.services
        manifests.workloads += loader.manifests.workloads
        manifests.endpointSlices = loader.manifests.endpointSlices + manifests.endpointSlices
    }

    private static func apiServer(address: String, node: String) -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: kubernetes, namespace: default, labels: {component: apiserver, provider: kubernetes}}
        spec:
          clusterIP: \(address)
          ports: [{name: https, port: 443, targetPort: 6443}]
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}
        addressType: IPv4
        endpoints: [{addresses: [\(node)], conditions: {ready: true}}]
        ports: [{name: https, port: 6443, protocol: TCP}]
        """
    }

    private static func clusterDNS(address: String, node: String) -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns, kubernetes.io/cluster-service: "true", kubernetes.io/name: CoreDNS}}
        spec:
          clusterIP: \(address)
          selector: {k8s-app: kube-dns}
          ports:
          - {name: dns, port: 53, protocol: UDP, targetPort: 53}
          - {name: dns-tcp, port: 53, protocol: TCP, targetPort: 53}
          - {name: metrics, port: 9153, protocol: TCP, targetPort: 9153}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
        spec:
          replicas: 1
          selector: {matchLabels: {k8s-app: kube-dns}}
          template:
            metadata: {labels: {k8s-app: kube-dns}}
            spec:
              nodeName: "\(node)"
              dnsPolicy: Default
              containers:
              - name: coredns
                image: registry.k8s.io/coredns/coredns:v1.12.0
                args: ["-conf", /etc/coredns/Corefile]
                ports:
                - {containerPort: 53, name: dns, protocol: UDP}
                - {containerPort: 53, name: dns-tcp, protocol: TCP}
                - {containerPort: 9153, name: metrics, protocol: TCP}
                readinessProbe: {tcpSocket: {port: 53}}
        """
    }
}
