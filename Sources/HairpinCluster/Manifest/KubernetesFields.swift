/// The fields that Kubernetes knows of the kinds Hairpin models, and their types, whether Hairpin uses them or not: what makes a typo an error.
///
/// One type a line: `Type: field:type …`. Types are those of Go in k8s.io/api 0.34: `[]x` is a list, `{}x` a mapping from keys of the user's choice, `~v1.X` a text with a name
/// of its own, `*` what is not looked at; other words are the types of this table. What a CustomResourceDefinition describes has its types in `AdminPolicyValidation.swift`.
enum KubernetesFields {
    struct Field: Sendable {
        var name: String
        var type: String
    }

    static let types: [String: [Field]] = {
        var result: [String: [Field]] = [:]
        for line in table.split(separator: "\n") {
            let parts = line.split(separator: " ")
            guard let name = parts.first?.dropLast() else { continue }
            result[String(name)] = parts.dropFirst().map { part in
                let halves = part.split(separator: ":", maxSplits: 1)
                return Field(name: String(halves[0]), type: String(halves[1]))
            }
        }
        return result
    }()

    private static let table = """
        Namespace: kind:string apiVersion:string metadata:ObjectMeta spec:NamespaceSpec status:NamespaceStatus
        ObjectMeta: name:string generateName:string namespace:string selfLink:string uid:~types.UID resourceVersion:string generation:int64 creationTimestamp:* deletionTimestamp:* deletionGracePeriodSeconds:int64 labels:{}string annotations:{}string ownerReferences:[]OwnerReference finalizers:[]string managedFields:[]ManagedFieldsEntry
        OwnerReference: apiVersion:string kind:string name:string uid:~types.UID controller:bool blockOwnerDeletion:bool
        ManagedFieldsEntry: manager:string operation:~v1.ManagedFieldsOperationType apiVersion:string time:* fieldsType:string fieldsV1:* subresource:string
        NamespaceSpec: finalizers:[]~v1.FinalizerName
        NamespaceStatus: phase:~v1.NamespacePhase conditions:[]NamespaceCondition
        NamespaceCondition: type:~v1.NamespaceConditionType status:~v1.ConditionStatus lastTransitionTime:* reason:string message:string
        Node: kind:string apiVersion:string metadata:ObjectMeta spec:NodeSpec status:NodeStatus
        NodeSpec: podCIDR:string podCIDRs:[]string providerID:string unschedulable:bool taints:[]Taint configSource:NodeConfigSource externalID:string
        Taint: key:string value:string effect:~v1.TaintEffect timeAdded:*
        NodeConfigSource: configMap:ConfigMapNodeConfigSource
        ConfigMapNodeConfigSource: namespace:string name:string uid:~types.UID resourceVersion:string kubeletConfigKey:string
        NodeStatus: capacity:{}* allocatable:{}* phase:~v1.NodePhase conditions:[]NodeCondition addresses:[]NodeAddress daemonEndpoints:NodeDaemonEndpoints nodeInfo:NodeSystemInfo images:[]ContainerImage volumesInUse:[]~v1.UniqueVolumeName volumesAttached:[]AttachedVolume config:NodeConfigStatus runtimeHandlers:[]NodeRuntimeHandler features:NodeFeatures
        NodeCondition: type:~v1.NodeConditionType status:~v1.ConditionStatus lastHeartbeatTime:* lastTransitionTime:* reason:string message:string
        NodeAddress: type:~v1.NodeAddressType address:string
        NodeDaemonEndpoints: kubeletEndpoint:DaemonEndpoint
        DaemonEndpoint: Port:int32
        NodeSystemInfo: machineID:string systemUUID:string bootID:string kernelVersion:string osImage:string containerRuntimeVersion:string kubeletVersion:string kubeProxyVersion:string operatingSystem:string architecture:string swap:NodeSwapStatus
        NodeSwapStatus: capacity:int64
        ContainerImage: names:[]string sizeBytes:int64
        AttachedVolume: name:~v1.UniqueVolumeName devicePath:string
        NodeConfigStatus: assigned:NodeConfigSource active:NodeConfigSource lastKnownGood:NodeConfigSource error:string
        NodeRuntimeHandler: name:string features:NodeRuntimeHandlerFeatures
        NodeRuntimeHandlerFeatures: recursiveReadOnlyMounts:bool userNamespaces:bool
        NodeFeatures: supplementalGroupsPolicy:bool
        Pod: kind:string apiVersion:string metadata:ObjectMeta spec:PodSpec status:PodStatus
        PodSpec: volumes:[]Volume initContainers:[]Container containers:[]Container ephemeralContainers:[]EphemeralContainer restartPolicy:~v1.RestartPolicy terminationGracePeriodSeconds:int64 activeDeadlineSeconds:int64 dnsPolicy:~v1.DNSPolicy nodeSelector:{}string serviceAccountName:string serviceAccount:string automountServiceAccountToken:bool nodeName:string hostNetwork:bool hostPID:bool hostIPC:bool shareProcessNamespace:bool securityContext:PodSecurityContext imagePullSecrets:[]LocalObjectReference hostname:string subdomain:string affinity:Affinity schedulerName:string tolerations:[]Toleration hostAliases:[]HostAlias priorityClassName:string priority:int32 dnsConfig:PodDNSConfig readinessGates:[]PodReadinessGate runtimeClassName:string enableServiceLinks:bool preemptionPolicy:~v1.PreemptionPolicy overhead:{}Quantity topologySpreadConstraints:[]TopologySpreadConstraint setHostnameAsFQDN:bool os:PodOS hostUsers:bool schedulingGates:[]PodSchedulingGate resourceClaims:[]PodResourceClaim resources:ResourceRequirements hostnameOverride:string
        Volume: name:string hostPath:HostPathVolumeSource emptyDir:EmptyDirVolumeSource gcePersistentDisk:GCEPersistentDiskVolumeSource awsElasticBlockStore:AWSElasticBlockStoreVolumeSource gitRepo:GitRepoVolumeSource secret:SecretVolumeSource nfs:NFSVolumeSource iscsi:ISCSIVolumeSource glusterfs:GlusterfsVolumeSource persistentVolumeClaim:PersistentVolumeClaimVolumeSource rbd:RBDVolumeSource flexVolume:FlexVolumeSource cinder:CinderVolumeSource cephfs:CephFSVolumeSource flocker:FlockerVolumeSource downwardAPI:DownwardAPIVolumeSource fc:FCVolumeSource azureFile:AzureFileVolumeSource configMap:ConfigMapVolumeSource vsphereVolume:VsphereVirtualDiskVolumeSource quobyte:QuobyteVolumeSource azureDisk:AzureDiskVolumeSource photonPersistentDisk:PhotonPersistentDiskVolumeSource projected:ProjectedVolumeSource portworxVolume:PortworxVolumeSource scaleIO:ScaleIOVolumeSource storageos:StorageOSVolumeSource csi:CSIVolumeSource ephemeral:EphemeralVolumeSource image:ImageVolumeSource
        HostPathVolumeSource: path:string type:~v1.HostPathType
        EmptyDirVolumeSource: medium:~v1.StorageMedium sizeLimit:Quantity
        GCEPersistentDiskVolumeSource: pdName:string fsType:string partition:int32 readOnly:bool
        AWSElasticBlockStoreVolumeSource: volumeID:string fsType:string partition:int32 readOnly:bool
        GitRepoVolumeSource: repository:string revision:string directory:string
        SecretVolumeSource: secretName:string items:[]KeyToPath defaultMode:int32 optional:bool
        KeyToPath: key:string path:string mode:int32
        NFSVolumeSource: server:string path:string readOnly:bool
        ISCSIVolumeSource: targetPortal:string iqn:string lun:int32 iscsiInterface:string fsType:string readOnly:bool portals:[]string chapAuthDiscovery:bool chapAuthSession:bool secretRef:LocalObjectReference initiatorName:string
        LocalObjectReference: name:string
        GlusterfsVolumeSource: endpoints:string path:string readOnly:bool
        PersistentVolumeClaimVolumeSource: claimName:string readOnly:bool
        RBDVolumeSource: monitors:[]string image:string fsType:string pool:string user:string keyring:string secretRef:LocalObjectReference readOnly:bool
        FlexVolumeSource: driver:string fsType:string secretRef:LocalObjectReference readOnly:bool options:{}string
        CinderVolumeSource: volumeID:string fsType:string readOnly:bool secretRef:LocalObjectReference
        CephFSVolumeSource: monitors:[]string path:string user:string secretFile:string secretRef:LocalObjectReference readOnly:bool
        FlockerVolumeSource: datasetName:string datasetUUID:string
        DownwardAPIVolumeSource: items:[]DownwardAPIVolumeFile defaultMode:int32
        DownwardAPIVolumeFile: path:string fieldRef:ObjectFieldSelector resourceFieldRef:ResourceFieldSelector mode:int32
        ObjectFieldSelector: apiVersion:string fieldPath:string
        ResourceFieldSelector: containerName:string resource:string divisor:Quantity
        FCVolumeSource: targetWWNs:[]string lun:int32 fsType:string readOnly:bool wwids:[]string
        AzureFileVolumeSource: secretName:string shareName:string readOnly:bool
        ConfigMapVolumeSource: name:string items:[]KeyToPath defaultMode:int32 optional:bool
        VsphereVirtualDiskVolumeSource: volumePath:string fsType:string storagePolicyName:string storagePolicyID:string
        QuobyteVolumeSource: registry:string volume:string readOnly:bool user:string group:string tenant:string
        AzureDiskVolumeSource: diskName:string diskURI:string cachingMode:~v1.AzureDataDiskCachingMode fsType:string readOnly:bool kind:~v1.AzureDataDiskKind
        PhotonPersistentDiskVolumeSource: pdID:string fsType:string
        ProjectedVolumeSource: sources:[]VolumeProjection defaultMode:int32
        VolumeProjection: secret:SecretProjection downwardAPI:DownwardAPIProjection configMap:ConfigMapProjection serviceAccountToken:ServiceAccountTokenProjection clusterTrustBundle:ClusterTrustBundleProjection podCertificate:PodCertificateProjection
        SecretProjection: name:string items:[]KeyToPath optional:bool
        DownwardAPIProjection: items:[]DownwardAPIVolumeFile
        ConfigMapProjection: name:string items:[]KeyToPath optional:bool
        ServiceAccountTokenProjection: audience:string expirationSeconds:int64 path:string
        ClusterTrustBundleProjection: name:string signerName:string labelSelector:LabelSelector optional:bool path:string
        LabelSelector: matchLabels:{}string matchExpressions:[]LabelSelectorRequirement
        LabelSelectorRequirement: key:string operator:~v1.LabelSelectorOperator values:[]string
        PodCertificateProjection: signerName:string keyType:string maxExpirationSeconds:int32 credentialBundlePath:string keyPath:string certificateChainPath:string
        PortworxVolumeSource: volumeID:string fsType:string readOnly:bool
        ScaleIOVolumeSource: gateway:string system:string secretRef:LocalObjectReference sslEnabled:bool protectionDomain:string storagePool:string storageMode:string volumeName:string fsType:string readOnly:bool
        StorageOSVolumeSource: volumeName:string volumeNamespace:string fsType:string readOnly:bool secretRef:LocalObjectReference
        CSIVolumeSource: driver:string readOnly:bool fsType:string volumeAttributes:{}string nodePublishSecretRef:LocalObjectReference
        EphemeralVolumeSource: volumeClaimTemplate:PersistentVolumeClaimTemplate
        PersistentVolumeClaimTemplate: metadata:ObjectMeta spec:PersistentVolumeClaimSpec
        PersistentVolumeClaimSpec: accessModes:[]~v1.PersistentVolumeAccessMode selector:LabelSelector resources:VolumeResourceRequirements volumeName:string storageClassName:string volumeMode:~v1.PersistentVolumeMode dataSource:TypedLocalObjectReference dataSourceRef:TypedObjectReference volumeAttributesClassName:string
        VolumeResourceRequirements: limits:{}Quantity requests:{}Quantity
        TypedLocalObjectReference: apiGroup:string kind:string name:string
        TypedObjectReference: apiGroup:string kind:string name:string namespace:string
        ImageVolumeSource: reference:string pullPolicy:~v1.PullPolicy
        Container: name:string image:string command:[]string args:[]string workingDir:string ports:[]ContainerPort envFrom:[]EnvFromSource env:[]EnvVar resources:ResourceRequirements resizePolicy:[]ContainerResizePolicy restartPolicy:~v1.ContainerRestartPolicy restartPolicyRules:[]ContainerRestartRule volumeMounts:[]VolumeMount volumeDevices:[]VolumeDevice livenessProbe:Probe readinessProbe:Probe startupProbe:Probe lifecycle:Lifecycle terminationMessagePath:string terminationMessagePolicy:~v1.TerminationMessagePolicy imagePullPolicy:~v1.PullPolicy securityContext:SecurityContext stdin:bool stdinOnce:bool tty:bool
        ContainerPort: name:string hostPort:int32 containerPort:int32 protocol:~v1.Protocol hostIP:string
        EnvFromSource: prefix:string configMapRef:ConfigMapEnvSource secretRef:SecretEnvSource
        ConfigMapEnvSource: name:string optional:bool
        SecretEnvSource: name:string optional:bool
        EnvVar: name:string value:string valueFrom:EnvVarSource
        EnvVarSource: fieldRef:ObjectFieldSelector resourceFieldRef:ResourceFieldSelector configMapKeyRef:ConfigMapKeySelector secretKeyRef:SecretKeySelector fileKeyRef:FileKeySelector
        ConfigMapKeySelector: name:string key:string optional:bool
        SecretKeySelector: name:string key:string optional:bool
        FileKeySelector: volumeName:string path:string key:string optional:bool
        ResourceRequirements: limits:{}Quantity requests:{}Quantity claims:[]ResourceClaim
        ResourceClaim: name:string request:string
        ContainerResizePolicy: resourceName:~v1.ResourceName restartPolicy:~v1.ResourceResizeRestartPolicy
        ContainerRestartRule: action:~v1.ContainerRestartRuleAction exitCodes:ContainerRestartRuleOnExitCodes
        ContainerRestartRuleOnExitCodes: operator:~v1.ContainerRestartRuleOnExitCodesOperator values:[]int32
        VolumeMount: name:string readOnly:bool recursiveReadOnly:~v1.RecursiveReadOnlyMode mountPath:string subPath:string mountPropagation:~v1.MountPropagationMode subPathExpr:string
        VolumeDevice: name:string devicePath:string
        Probe: exec:ExecAction httpGet:HTTPGetAction tcpSocket:TCPSocketAction grpc:GRPCAction initialDelaySeconds:int32 timeoutSeconds:int32 periodSeconds:int32 successThreshold:int32 failureThreshold:int32 terminationGracePeriodSeconds:int64
        ExecAction: command:[]string
        HTTPGetAction: path:string port:IntOrString host:string scheme:~v1.URIScheme httpHeaders:[]HTTPHeader
        HTTPHeader: name:string value:string
        TCPSocketAction: port:IntOrString host:string
        GRPCAction: port:int32 service:string
        Lifecycle: postStart:LifecycleHandler preStop:LifecycleHandler stopSignal:~v1.Signal
        LifecycleHandler: exec:ExecAction httpGet:HTTPGetAction tcpSocket:TCPSocketAction sleep:SleepAction
        SleepAction: seconds:int64
        SecurityContext: capabilities:Capabilities privileged:bool seLinuxOptions:SELinuxOptions windowsOptions:WindowsSecurityContextOptions runAsUser:int64 runAsGroup:int64 runAsNonRoot:bool readOnlyRootFilesystem:bool allowPrivilegeEscalation:bool procMount:~v1.ProcMountType seccompProfile:SeccompProfile appArmorProfile:AppArmorProfile
        Capabilities: add:[]~v1.Capability drop:[]~v1.Capability
        SELinuxOptions: user:string role:string type:string level:string
        WindowsSecurityContextOptions: gmsaCredentialSpecName:string gmsaCredentialSpec:string runAsUserName:string hostProcess:bool
        SeccompProfile: type:~v1.SeccompProfileType localhostProfile:string
        AppArmorProfile: type:~v1.AppArmorProfileType localhostProfile:string
        EphemeralContainer: name:string image:string command:[]string args:[]string workingDir:string ports:[]ContainerPort envFrom:[]EnvFromSource env:[]EnvVar resources:ResourceRequirements resizePolicy:[]ContainerResizePolicy restartPolicy:~v1.ContainerRestartPolicy restartPolicyRules:[]ContainerRestartRule volumeMounts:[]VolumeMount volumeDevices:[]VolumeDevice livenessProbe:Probe readinessProbe:Probe startupProbe:Probe lifecycle:Lifecycle terminationMessagePath:string terminationMessagePolicy:~v1.TerminationMessagePolicy imagePullPolicy:~v1.PullPolicy securityContext:SecurityContext stdin:bool stdinOnce:bool tty:bool targetContainerName:string
        PodSecurityContext: seLinuxOptions:SELinuxOptions windowsOptions:WindowsSecurityContextOptions runAsUser:int64 runAsGroup:int64 runAsNonRoot:bool supplementalGroups:[]int64 supplementalGroupsPolicy:~v1.SupplementalGroupsPolicy fsGroup:int64 sysctls:[]Sysctl fsGroupChangePolicy:~v1.PodFSGroupChangePolicy seccompProfile:SeccompProfile appArmorProfile:AppArmorProfile seLinuxChangePolicy:~v1.PodSELinuxChangePolicy
        Sysctl: name:string value:string
        Affinity: nodeAffinity:NodeAffinity podAffinity:PodAffinity podAntiAffinity:PodAntiAffinity
        NodeAffinity: requiredDuringSchedulingIgnoredDuringExecution:NodeSelector preferredDuringSchedulingIgnoredDuringExecution:[]PreferredSchedulingTerm
        NodeSelector: nodeSelectorTerms:[]NodeSelectorTerm
        NodeSelectorTerm: matchExpressions:[]NodeSelectorRequirement matchFields:[]NodeSelectorRequirement
        NodeSelectorRequirement: key:string operator:~v1.NodeSelectorOperator values:[]string
        PreferredSchedulingTerm: weight:int32 preference:NodeSelectorTerm
        PodAffinity: requiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm preferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm
        PodAffinityTerm: labelSelector:LabelSelector namespaces:[]string topologyKey:string namespaceSelector:LabelSelector matchLabelKeys:[]string mismatchLabelKeys:[]string
        WeightedPodAffinityTerm: weight:int32 podAffinityTerm:PodAffinityTerm
        PodAntiAffinity: requiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm preferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm
        Toleration: key:string operator:~v1.TolerationOperator value:string effect:~v1.TaintEffect tolerationSeconds:int64
        HostAlias: ip:string hostnames:[]string
        PodDNSConfig: nameservers:[]string searches:[]string options:[]PodDNSConfigOption
        PodDNSConfigOption: name:string value:string
        PodReadinessGate: conditionType:~v1.PodConditionType
        TopologySpreadConstraint: maxSkew:int32 topologyKey:string whenUnsatisfiable:~v1.UnsatisfiableConstraintAction labelSelector:LabelSelector minDomains:int32 nodeAffinityPolicy:~v1.NodeInclusionPolicy nodeTaintsPolicy:~v1.NodeInclusionPolicy matchLabelKeys:[]string
        PodOS: name:~v1.OSName
        PodSchedulingGate: name:string
        PodResourceClaim: name:string resourceClaimName:string resourceClaimTemplateName:string
        PodStatus: observedGeneration:int64 phase:~v1.PodPhase conditions:[]PodCondition message:string reason:string nominatedNodeName:string hostIP:string hostIPs:[]HostIP podIP:string podIPs:[]PodIP startTime:* initContainerStatuses:[]ContainerStatus containerStatuses:[]ContainerStatus qosClass:~v1.PodQOSClass ephemeralContainerStatuses:[]ContainerStatus resize:~v1.PodResizeStatus resourceClaimStatuses:[]PodResourceClaimStatus extendedResourceClaimStatus:PodExtendedResourceClaimStatus
        PodCondition: type:~v1.PodConditionType observedGeneration:int64 status:~v1.ConditionStatus lastProbeTime:* lastTransitionTime:* reason:string message:string
        HostIP: ip:string
        PodIP: ip:string
        ContainerStatus: name:string state:ContainerState lastState:ContainerState ready:bool restartCount:int32 image:string imageID:string containerID:string started:bool allocatedResources:{}* resources:ResourceRequirements volumeMounts:[]VolumeMountStatus user:ContainerUser allocatedResourcesStatus:[]ResourceStatus stopSignal:~v1.Signal
        ContainerState: waiting:ContainerStateWaiting running:ContainerStateRunning terminated:ContainerStateTerminated
        ContainerStateWaiting: reason:string message:string
        ContainerStateRunning: startedAt:*
        ContainerStateTerminated: exitCode:int32 signal:int32 reason:string message:string startedAt:* finishedAt:* containerID:string
        VolumeMountStatus: name:string mountPath:string readOnly:bool recursiveReadOnly:~v1.RecursiveReadOnlyMode
        ContainerUser: linux:LinuxContainerUser
        LinuxContainerUser: uid:int64 gid:int64 supplementalGroups:[]int64
        ResourceStatus: name:~v1.ResourceName resources:[]ResourceHealth
        ResourceHealth: resourceID:~v1.ResourceID health:~v1.ResourceHealthStatus
        PodResourceClaimStatus: name:string resourceClaimName:string
        PodExtendedResourceClaimStatus: requestMappings:[]ContainerExtendedResourceRequest resourceClaimName:string
        ContainerExtendedResourceRequest: containerName:string resourceName:string requestName:string
        Service: kind:string apiVersion:string metadata:ObjectMeta spec:ServiceSpec status:ServiceStatus
        ServiceSpec: ports:[]ServicePort selector:{}string clusterIP:string clusterIPs:[]string type:~v1.ServiceType externalIPs:[]string sessionAffinity:~v1.ServiceAffinity loadBalancerIP:string loadBalancerSourceRanges:[]string externalName:string externalTrafficPolicy:~v1.ServiceExternalTrafficPolicy healthCheckNodePort:int32 publishNotReadyAddresses:bool sessionAffinityConfig:SessionAffinityConfig ipFamilies:[]~v1.IPFamily ipFamilyPolicy:~v1.IPFamilyPolicy allocateLoadBalancerNodePorts:bool loadBalancerClass:string internalTrafficPolicy:~v1.ServiceInternalTrafficPolicy trafficDistribution:string
        ServicePort: name:string protocol:~v1.Protocol appProtocol:string port:int32 targetPort:IntOrString nodePort:int32
        SessionAffinityConfig: clientIP:ClientIPConfig
        ClientIPConfig: timeoutSeconds:int32
        ServiceStatus: loadBalancer:LoadBalancerStatus conditions:[]Condition
        LoadBalancerStatus: ingress:[]LoadBalancerIngress
        LoadBalancerIngress: ip:string hostname:string ipMode:~v1.LoadBalancerIPMode ports:[]PortStatus
        PortStatus: port:int32 protocol:~v1.Protocol error:string
        Condition: type:string status:~v1.ConditionStatus observedGeneration:int64 lastTransitionTime:* reason:string message:string
        Endpoints: kind:string apiVersion:string metadata:ObjectMeta subsets:[]EndpointSubset
        EndpointSubset: addresses:[]EndpointAddress notReadyAddresses:[]EndpointAddress ports:[]EndpointPort
        EndpointAddress: ip:string hostname:string nodeName:string targetRef:ObjectReference
        ObjectReference: kind:string namespace:string name:string uid:~types.UID apiVersion:string resourceVersion:string fieldPath:string
        EndpointPort: name:string port:int32 protocol:~v1.Protocol appProtocol:string
        ConfigMap: kind:string apiVersion:string metadata:ObjectMeta immutable:bool data:{}string binaryData:{}bytes
        Secret: kind:string apiVersion:string metadata:ObjectMeta immutable:bool data:{}bytes stringData:{}string type:~v1.SecretType
        ReplicationController: kind:string apiVersion:string metadata:ObjectMeta spec:ReplicationControllerSpec status:ReplicationControllerStatus
        ReplicationControllerSpec: replicas:int32 minReadySeconds:int32 selector:{}string template:PodTemplateSpec
        PodTemplateSpec: metadata:ObjectMeta spec:PodSpec
        ReplicationControllerStatus: replicas:int32 fullyLabeledReplicas:int32 readyReplicas:int32 availableReplicas:int32 observedGeneration:int64 conditions:[]ReplicationControllerCondition
        ReplicationControllerCondition: type:~v1.ReplicationControllerConditionType status:~v1.ConditionStatus lastTransitionTime:* reason:string message:string
        Deployment: kind:string apiVersion:string metadata:ObjectMeta spec:DeploymentSpec status:DeploymentStatus
        DeploymentSpec: replicas:int32 selector:LabelSelector template:PodTemplateSpec strategy:DeploymentStrategy minReadySeconds:int32 revisionHistoryLimit:int32 paused:bool progressDeadlineSeconds:int32
        DeploymentStrategy: type:~v1.DeploymentStrategyType rollingUpdate:RollingUpdateDeployment
        RollingUpdateDeployment: maxUnavailable:IntOrString maxSurge:IntOrString
        DeploymentStatus: observedGeneration:int64 replicas:int32 updatedReplicas:int32 readyReplicas:int32 availableReplicas:int32 unavailableReplicas:int32 terminatingReplicas:int32 conditions:[]DeploymentCondition collisionCount:int32
        DeploymentCondition: type:~v1.DeploymentConditionType status:~v1.ConditionStatus lastUpdateTime:* lastTransitionTime:* reason:string message:string
        ReplicaSet: kind:string apiVersion:string metadata:ObjectMeta spec:ReplicaSetSpec status:ReplicaSetStatus
        ReplicaSetSpec: replicas:int32 minReadySeconds:int32 selector:LabelSelector template:PodTemplateSpec
        ReplicaSetStatus: replicas:int32 fullyLabeledReplicas:int32 readyReplicas:int32 availableReplicas:int32 terminatingReplicas:int32 observedGeneration:int64 conditions:[]ReplicaSetCondition
        ReplicaSetCondition: type:~v1.ReplicaSetConditionType status:~v1.ConditionStatus lastTransitionTime:* reason:string message:string
        StatefulSet: kind:string apiVersion:string metadata:ObjectMeta spec:StatefulSetSpec status:StatefulSetStatus
        StatefulSetSpec: replicas:int32 selector:LabelSelector template:PodTemplateSpec volumeClaimTemplates:[]PersistentVolumeClaim serviceName:string podManagementPolicy:~v1.PodManagementPolicyType updateStrategy:StatefulSetUpdateStrategy revisionHistoryLimit:int32 minReadySeconds:int32 persistentVolumeClaimRetentionPolicy:StatefulSetPersistentVolumeClaimRetentionPolicy ordinals:StatefulSetOrdinals
        PersistentVolumeClaim: kind:string apiVersion:string metadata:ObjectMeta spec:PersistentVolumeClaimSpec status:PersistentVolumeClaimStatus
        PersistentVolumeClaimStatus: phase:~v1.PersistentVolumeClaimPhase accessModes:[]~v1.PersistentVolumeAccessMode capacity:{}* conditions:[]PersistentVolumeClaimCondition allocatedResources:{}* allocatedResourceStatuses:{}~v1.ClaimResourceStatus currentVolumeAttributesClassName:string modifyVolumeStatus:ModifyVolumeStatus
        PersistentVolumeClaimCondition: type:~v1.PersistentVolumeClaimConditionType status:~v1.ConditionStatus lastProbeTime:* lastTransitionTime:* reason:string message:string
        ModifyVolumeStatus: targetVolumeAttributesClassName:string status:~v1.PersistentVolumeClaimModifyVolumeStatus
        StatefulSetUpdateStrategy: type:~v1.StatefulSetUpdateStrategyType rollingUpdate:RollingUpdateStatefulSetStrategy
        RollingUpdateStatefulSetStrategy: partition:int32 maxUnavailable:IntOrString
        StatefulSetPersistentVolumeClaimRetentionPolicy: whenDeleted:~v1.PersistentVolumeClaimRetentionPolicyType whenScaled:~v1.PersistentVolumeClaimRetentionPolicyType
        StatefulSetOrdinals: start:int32
        StatefulSetStatus: observedGeneration:int64 replicas:int32 readyReplicas:int32 currentReplicas:int32 updatedReplicas:int32 currentRevision:string updateRevision:string collisionCount:int32 conditions:[]StatefulSetCondition availableReplicas:int32
        StatefulSetCondition: type:~v1.StatefulSetConditionType status:~v1.ConditionStatus lastTransitionTime:* reason:string message:string
        DaemonSet: kind:string apiVersion:string metadata:ObjectMeta spec:DaemonSetSpec status:DaemonSetStatus
        DaemonSetSpec: selector:LabelSelector template:PodTemplateSpec updateStrategy:DaemonSetUpdateStrategy minReadySeconds:int32 revisionHistoryLimit:int32
        DaemonSetUpdateStrategy: type:~v1.DaemonSetUpdateStrategyType rollingUpdate:RollingUpdateDaemonSet
        RollingUpdateDaemonSet: maxUnavailable:IntOrString maxSurge:IntOrString
        DaemonSetStatus: currentNumberScheduled:int32 numberMisscheduled:int32 desiredNumberScheduled:int32 numberReady:int32 observedGeneration:int64 updatedNumberScheduled:int32 numberAvailable:int32 numberUnavailable:int32 collisionCount:int32 conditions:[]DaemonSetCondition
        DaemonSetCondition: type:~v1.DaemonSetConditionType status:~v1.ConditionStatus lastTransitionTime:* reason:string message:string
        Job: kind:string apiVersion:string metadata:ObjectMeta spec:JobSpec status:JobStatus
        JobSpec: parallelism:int32 completions:int32 activeDeadlineSeconds:int64 podFailurePolicy:PodFailurePolicy successPolicy:SuccessPolicy backoffLimit:int32 backoffLimitPerIndex:int32 maxFailedIndexes:int32 selector:LabelSelector manualSelector:bool template:PodTemplateSpec ttlSecondsAfterFinished:int32 completionMode:~v1.CompletionMode suspend:bool podReplacementPolicy:~v1.PodReplacementPolicy managedBy:string
        PodFailurePolicy: rules:[]PodFailurePolicyRule
        PodFailurePolicyRule: action:~v1.PodFailurePolicyAction onExitCodes:PodFailurePolicyOnExitCodesRequirement onPodConditions:[]PodFailurePolicyOnPodConditionsPattern
        PodFailurePolicyOnExitCodesRequirement: containerName:string operator:~v1.PodFailurePolicyOnExitCodesOperator values:[]int32
        PodFailurePolicyOnPodConditionsPattern: type:~v1.PodConditionType status:~v1.ConditionStatus
        SuccessPolicy: rules:[]SuccessPolicyRule
        SuccessPolicyRule: succeededIndexes:string succeededCount:int32
        JobStatus: conditions:[]JobCondition startTime:* completionTime:* active:int32 succeeded:int32 failed:int32 terminating:int32 completedIndexes:string failedIndexes:string uncountedTerminatedPods:UncountedTerminatedPods ready:int32
        JobCondition: type:~v1.JobConditionType status:~v1.ConditionStatus lastProbeTime:* lastTransitionTime:* reason:string message:string
        UncountedTerminatedPods: succeeded:[]~types.UID failed:[]~types.UID
        CronJob: kind:string apiVersion:string metadata:ObjectMeta spec:CronJobSpec status:CronJobStatus
        CronJobSpec: schedule:string timeZone:string startingDeadlineSeconds:int64 concurrencyPolicy:~v1.ConcurrencyPolicy suspend:bool jobTemplate:JobTemplateSpec successfulJobsHistoryLimit:int32 failedJobsHistoryLimit:int32
        JobTemplateSpec: metadata:ObjectMeta spec:JobSpec
        CronJobStatus: active:[]ObjectReference lastScheduleTime:* lastSuccessfulTime:*
        EndpointSlice: kind:string apiVersion:string metadata:ObjectMeta addressType:~v1.AddressType endpoints:[]Endpoint ports:[]discovery.EndpointPort
        Endpoint: addresses:[]string conditions:EndpointConditions hostname:string targetRef:ObjectReference deprecatedTopology:{}string nodeName:string zone:string hints:EndpointHints
        EndpointConditions: ready:bool serving:bool terminating:bool
        EndpointHints: forZones:[]ForZone forNodes:[]ForNode
        ForZone: name:string
        ForNode: name:string
        discovery.EndpointPort: name:string protocol:~v1.Protocol port:int32 appProtocol:string
        NetworkPolicy: kind:string apiVersion:string metadata:ObjectMeta spec:NetworkPolicySpec
        NetworkPolicySpec: podSelector:LabelSelector ingress:[]NetworkPolicyIngressRule egress:[]NetworkPolicyEgressRule policyTypes:[]~v1.PolicyType
        NetworkPolicyIngressRule: ports:[]NetworkPolicyPort from:[]NetworkPolicyPeer
        NetworkPolicyPort: protocol:~v1.Protocol port:IntOrString endPort:int32
        NetworkPolicyPeer: podSelector:LabelSelector namespaceSelector:LabelSelector ipBlock:IPBlock
        IPBlock: cidr:string except:[]string
        NetworkPolicyEgressRule: ports:[]NetworkPolicyPort to:[]NetworkPolicyPeer
        AdminNetworkPolicy: apiVersion:* kind:* metadata:ObjectMeta spec:AdminNetworkPolicySpec status:*
        BaselineAdminNetworkPolicy: apiVersion:* kind:* metadata:ObjectMeta spec:BaselineAdminNetworkPolicySpec status:*
        AdminNetworkPolicySpec: priority:* subject:AdminSubject ingress:[]AdminIngressRule egress:[]AdminEgressRule
        BaselineAdminNetworkPolicySpec: subject:AdminSubject ingress:[]AdminIngressRule egress:[]AdminEgressRule
        AdminSubject: namespaces:AdminSelector pods:NamespacedPod
        NamespacedPod: namespaceSelector:AdminSelector podSelector:AdminSelector
        AdminSelector: matchLabels:* matchExpressions:[]AdminRequirement
        AdminRequirement: key:* operator:* values:*
        AdminIngressRule: name:* action:* from:[]AdminIngressPeer ports:[]AdminPort
        AdminEgressRule: name:* action:* to:[]AdminEgressPeer ports:[]AdminPort
        AdminIngressPeer: namespaces:AdminSelector pods:NamespacedPod
        AdminEgressPeer: namespaces:AdminSelector pods:NamespacedPod nodes:AdminSelector networks:* domainNames:*
        AdminPort: portNumber:AdminPortNumber portRange:AdminPortRange namedPort:*
        AdminPortNumber: protocol:* port:*
        AdminPortRange: protocol:* start:* end:*
        """
}
