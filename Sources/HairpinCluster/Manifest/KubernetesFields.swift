/// The fields that Kubernetes knows for the kinds Hairpin models, whether Hairpin uses them or not: what makes a typo an error.
///
/// One type a line: `Type: field field:Type field[]:Type`. A field without a type may hold anything; `{}` after a field means a mapping with keys of
/// the user's choice and values of that type. From the API reference of Kubernetes 1.33.
enum KubernetesFields {
    struct Field: Sendable {
        var name: String
        var type: String?
        var isList: Bool
    }

    /// Refuses unknown fields anywhere in `value`, which has the type called `type`.
    static func check(_ value: YAMLValue, type: String) throws(InputError) {
        guard let fields = types[type], case .mapping(let entries) = value.content else { return }
        for entry in entries {
            guard let field = fields.first(where: { $0.name == entry.key }) else {
                throw value.unknownKey(entry, known: fields.map(\.name))
            }
            guard let type = field.type, case let child = value.child(entry.value, key: entry.key), !child.isNull else { continue }
            if field.isList {
                for item in try child.items() {
                    _ = try item.entries()
                    try check(item, type: type)
                }
            } else {
                _ = try child.entries()
                try check(child, type: type)
            }
        }
    }

    private static let types: [String: [Field]] = {
        var result: [String: [Field]] = [:]
        for line in table.split(separator: "\n") {
            let parts = line.split(separator: " ")
            guard let name = parts.first?.dropLast() else { continue }
            result[String(name)] = parts.dropFirst().map { part in
                let halves = part.split(separator: ":")
                let isList = halves[0].hasSuffix("[]")
                return Field(name: String(isList ? halves[0].dropLast(2) : halves[0]), type: halves.count > 1 ? String(halves[1]) : nil, isList: isList)
            }
        }
        return result
    }()

    private static let table = """
        Namespace: apiVersion kind metadata:ObjectMeta spec status
        Node: apiVersion kind metadata:ObjectMeta spec:NodeSpec status
        NodeSpec: podCIDR podCIDRs providerID taints unschedulable configSource externalID
        Pod: apiVersion kind metadata:ObjectMeta spec:PodSpec status
        Deployment: apiVersion kind metadata:ObjectMeta spec:DeploymentSpec status
        ReplicaSet: apiVersion kind metadata:ObjectMeta spec:ReplicaSetSpec status
        StatefulSet: apiVersion kind metadata:ObjectMeta spec:StatefulSetSpec status
        DaemonSet: apiVersion kind metadata:ObjectMeta spec:DaemonSetSpec status
        Job: apiVersion kind metadata:ObjectMeta spec:JobSpec status
        CronJob: apiVersion kind metadata:ObjectMeta spec:CronJobSpec status
        ReplicationController: apiVersion kind metadata:ObjectMeta spec:ReplicationControllerSpec status
        Service: apiVersion kind metadata:ObjectMeta spec:ServiceSpec status
        Endpoints: apiVersion kind metadata:ObjectMeta subsets[]:EndpointSubset
        EndpointSlice: apiVersion kind metadata:ObjectMeta addressType endpoints[]:Endpoint ports[]:EndpointPort
        ConfigMap: apiVersion kind metadata:ObjectMeta data binaryData immutable
        Secret: apiVersion kind metadata:ObjectMeta data stringData type immutable
        ObjectMeta: name generateName namespace labels annotations ownerReferences finalizers uid resourceVersion generation creationTimestamp deletionTimestamp deletionGracePeriodSeconds selfLink managedFields clusterName
        LabelSelector: matchLabels matchExpressions[]:LabelSelectorRequirement
        LabelSelectorRequirement: key operator values
        DeploymentSpec: replicas selector:LabelSelector template:PodTemplateSpec strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds
        ReplicaSetSpec: replicas selector:LabelSelector template:PodTemplateSpec minReadySeconds
        StatefulSetSpec: replicas selector:LabelSelector template:PodTemplateSpec serviceName volumeClaimTemplates podManagementPolicy updateStrategy revisionHistoryLimit minReadySeconds persistentVolumeClaimRetentionPolicy ordinals
        DaemonSetSpec: selector:LabelSelector template:PodTemplateSpec updateStrategy minReadySeconds revisionHistoryLimit
        JobSpec: parallelism completions activeDeadlineSeconds podFailurePolicy successPolicy backoffLimit backoffLimitPerIndex maxFailedIndexes selector:LabelSelector manualSelector template:PodTemplateSpec ttlSecondsAfterFinished completionMode suspend podReplacementPolicy managedBy
        CronJobSpec: schedule timeZone startingDeadlineSeconds concurrencyPolicy suspend jobTemplate successfulJobsHistoryLimit failedJobsHistoryLimit
        ReplicationControllerSpec: replicas selector template:PodTemplateSpec minReadySeconds
        PodTemplateSpec: metadata:ObjectMeta spec:PodSpec
        PodSpec: volumes[]:Volume initContainers[]:Container containers[]:Container ephemeralContainers restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName serviceAccount automountServiceAccountToken nodeName hostNetwork hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets hostname subdomain affinity schedulerName tolerations hostAliases[]:HostAlias priorityClassName priority dnsConfig:PodDNSConfig readinessGates runtimeClassName enableServiceLinks preemptionPolicy overhead topologySpreadConstraints setHostnameAsFQDN os hostUsers schedulingGates resourceClaims resources
        HostAlias: ip hostnames
        PodDNSConfig: nameservers searches options
        Container: name image command args workingDir ports[]:ContainerPort envFrom[]:EnvFromSource env[]:EnvVar resources resizePolicy restartPolicy volumeMounts[]:VolumeMount volumeDevices livenessProbe:Probe readinessProbe:Probe startupProbe:Probe lifecycle terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty
        ContainerPort: name hostPort containerPort protocol hostIP
        EnvFromSource: prefix configMapRef:LocalReference secretRef:LocalReference
        LocalReference: name optional
        EnvVar: name value valueFrom:EnvVarSource
        EnvVarSource: fieldRef:ObjectFieldSelector resourceFieldRef configMapKeyRef:KeySelector secretKeyRef:KeySelector fileKeyRef
        ObjectFieldSelector: apiVersion fieldPath
        KeySelector: name key optional
        VolumeMount: name readOnly recursiveReadOnly mountPath subPath mountPropagation subPathExpr
        Probe: exec:ExecAction httpGet:HTTPGetAction tcpSocket:TCPSocketAction grpc:GRPCAction initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold terminationGracePeriodSeconds
        ExecAction: command
        HTTPGetAction: path port host scheme httpHeaders
        TCPSocketAction: port host
        GRPCAction: port service
        Volume: name emptyDir configMap:ConfigMapVolumeSource secret hostPath persistentVolumeClaim projected downwardAPI nfs csi ephemeral iscsi gitRepo awsElasticBlockStore gcePersistentDisk azureDisk azureFile cephfs cinder fc flexVolume flocker glusterfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume image
        ConfigMapVolumeSource: name items[]:KeyToPath defaultMode optional
        KeyToPath: key path mode
        ServiceSpec: ports[]:ServicePort selector clusterIP clusterIPs type externalIPs sessionAffinity loadBalancerIP loadBalancerSourceRanges externalName externalTrafficPolicy healthCheckNodePort publishNotReadyAddresses sessionAffinityConfig:SessionAffinityConfig ipFamilies ipFamilyPolicy allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution topologyKeys
        ServicePort: name protocol appProtocol port targetPort nodePort
        SessionAffinityConfig: clientIP:ClientIPConfig
        ClientIPConfig: timeoutSeconds
        EndpointSubset: addresses[]:EndpointAddress notReadyAddresses[]:EndpointAddress ports[]:EndpointPort
        EndpointAddress: ip hostname nodeName targetRef
        EndpointPort: name port protocol appProtocol
        Endpoint: addresses conditions:EndpointConditions hostname targetRef deprecatedTopology nodeName zone hints
        EndpointConditions: ready serving terminating
        NetworkPolicy: apiVersion kind metadata:ObjectMeta spec:NetworkPolicySpec status
        NetworkPolicySpec: podSelector:LabelSelector ingress[]:NetworkPolicyIngressRule egress[]:NetworkPolicyEgressRule policyTypes
        NetworkPolicyIngressRule: ports[]:NetworkPolicyPort from[]:NetworkPolicyPeer
        NetworkPolicyEgressRule: ports[]:NetworkPolicyPort to[]:NetworkPolicyPeer
        NetworkPolicyPort: protocol port endPort
        NetworkPolicyPeer: podSelector:LabelSelector namespaceSelector:LabelSelector ipBlock:IPBlock
        IPBlock: cidr except
        AdminNetworkPolicy: apiVersion kind metadata:ObjectMeta spec:AdminNetworkPolicySpec status
        BaselineAdminNetworkPolicy: apiVersion kind metadata:ObjectMeta spec:AdminNetworkPolicySpec status
        AdminNetworkPolicySpec: priority subject:AdminSubject ingress[]:AdminIngressRule egress[]:AdminEgressRule
        AdminSubject: namespaces:LabelSelector pods:NamespacedPod
        NamespacedPod: namespaceSelector:LabelSelector podSelector:LabelSelector
        AdminIngressRule: name action from[]:AdminPeer ports[]:AdminPort
        AdminEgressRule: name action to[]:AdminPeer ports[]:AdminPort
        AdminPeer: namespaces:LabelSelector pods:NamespacedPod nodes:LabelSelector networks domainNames
        AdminPort: portNumber:AdminPortNumber portRange:AdminPortRange namedPort
        AdminPortNumber: protocol port
        AdminPortRange: protocol start end
        """
}
