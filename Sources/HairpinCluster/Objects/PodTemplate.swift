/// The part of a pod that a manifest decides: its containers, volumes and where it may run.
public struct PodTemplate: Sendable {
    public enum RestartPolicy: String, Sendable {
        case always = "Always"
        case onFailure = "OnFailure"
        case never = "Never"
    }
    public var labels: [String: String]
    public var annotations: [String: String]
    public var containers: [Container]
    public var initContainers: [Container]
    public var volumes: [Volume]
    public var restartPolicy: RestartPolicy
    public var hostname: String?
    public var subdomain: String?
    public var nodeName: String?
    public var nodeSelector: [String: String]
    public var hostNetwork: Bool
    /// "ClusterFirst", "Default", "None" or "ClusterFirstWithHostNet".
    public var dnsPolicy: String
    public var dnsConfig: DNSConfig
    public var hostAliases: [(address: String, names: [String])]
    public var serviceAccountName: String
    public var enableServiceLinks: Bool
    /// `terminationGracePeriodSeconds`.
    public var gracePeriodSeconds: Int
    /// As it was written, for `-o yaml`.
    public var source: JSONValue
}

/// `dnsConfig` of a pod: what is added to (or, under policy None, makes up) resolv.conf.
public struct DNSConfig: Sendable, Hashable {
    public var nameservers: [String] = []
    public var searches: [String] = []
    /// "ndots:5" and the like.
    public var options: [String] = []
}

public struct Container: Sendable {
    public var name: String
    public var image: String
    /// Nil where the image's own entry point runs.
    public var command: [String]?
    public var args: [String]?
    public var workingDirectory: String?
    public var ports: [ContainerPort]
    public var environment: [EnvironmentVariable]
    public var environmentFrom: [EnvironmentSource]
    public var volumeMounts: [VolumeMount]
    public var readinessProbe: Probe?
    public var livenessProbe: Probe?
    public var startupProbe: Probe?
    /// `lifecycle.preStop`.
    public var preStop: PreStop?
    /// An init container with `restartPolicy: Always` keeps running beside the others.
    public var isSidecar: Bool
    public var line: Int
}

public struct ContainerPort: Sendable, Hashable {
    public var name: String?
    public var port: UInt16
    public var proto: PortProtocol
    public var hostPort: UInt16?
}

public struct EnvironmentVariable: Sendable {
    public enum Value: Sendable {
        /// May refer to other variables as `$(NAME)`.
        case literal(String)
        /// "status.podIP", "metadata.name", "metadata.labels['app']" and so on.
        case field(String)
        case configMap(name: String, key: String, optional: Bool)
        case secret(name: String, key: String, optional: Bool)
        /// Limits and requests; not modelled.
        case resource
    }
    public var name: String
    public var value: Value
}

/// All keys of a ConfigMap or a Secret as variables.
public struct EnvironmentSource: Sendable, Hashable {
    public var prefix: String
    public var isSecret: Bool
    public var name: String
    public var optional: Bool
}

public struct Volume: Sendable {
    public enum Source: Sendable {
        case emptyDir
        /// `items` is nil for all keys, each under its own name.
        case configMap(name: String, items: [(key: String, path: String)]?, optional: Bool)
        case secret(name: String, optional: Bool)
        /// Kept, not modelled: "hostPath", "persistentVolumeClaim", …; an empty folder in the container.
        case other(String)
    }
    public var name: String
    public var source: Source
}

public struct VolumeMount: Sendable, Hashable {
    public var volume: String
    public var path: String
    public var subPath: String?
    public var readOnly: Bool
}

/// What the kubelet does before it asks a container to end.
public enum PreStop: Sendable, Hashable {
    case sleep(seconds: Int)
    case exec([String])
}

public struct Probe: Sendable, Hashable {
    public enum Action: Sendable, Hashable {
        case tcpSocket(PortReference)
        case httpGet(path: String, PortReference)
        case grpc(PortReference)
        case exec([String])
    }
    public var action: Action
    public var initialDelaySeconds: Int
    public var periodSeconds: Int
    public var timeoutSeconds: Int
    public var successThreshold: Int
    public var failureThreshold: Int
}
