/// Names an interface of a logical process, over all its namespaces. Zero is none.
@frozen
public struct InterfaceIndex: Hashable, Comparable, Sendable {
    public let rawValue: UInt32
    @inlinable public init(_ rawValue: UInt32) { self.rawValue = rawValue }
    @inlinable public static var none: InterfaceIndex { InterfaceIndex(0) }
    @inlinable public static func < (a: InterfaceIndex, b: InterfaceIndex) -> Bool { a.rawValue < b.rawValue }
}

/// Names a network namespace of a logical process: the node's own or a pod's.
@frozen
public struct NamespaceIndex: Hashable, Comparable, Sendable {
    public let rawValue: UInt32
    @inlinable public init(_ rawValue: UInt32) { self.rawValue = rawValue }
    @inlinable public static func < (a: NamespaceIndex, b: NamespaceIndex) -> Bool { a.rawValue < b.rawValue }
}
