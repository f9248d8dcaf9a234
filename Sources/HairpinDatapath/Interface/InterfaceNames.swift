/// The names of a logical process's interfaces, and which interface of a namespace has a name.
///
/// A node has a veth port for each of its pods, so looking one up must not compare it with all the others: interfaces are in one open-addressing
/// table by namespace and name, load at most one half. Interfaces are never removed, and of two of the same name the first is found.
struct InterfaceNames {
    /// By number; the one of "no interface" is empty.
    private var names: [String] = [""]
    /// Numbers of interfaces; zero is empty.
    private var slots: [UInt32]

    /// Room for so many interfaces and no more.
    init(capacity: Int) {
        names.reserveCapacity(capacity + 1)
        var size = 2
        while size < capacity * 2 { size *= 2 }
        slots = [UInt32](repeating: 0, count: size)
    }

    subscript(index: InterfaceIndex) -> String { names[Int(index.rawValue)] }

    /// Adds the next interface.
    mutating func append(_ name: String, namespace: NamespaceIndex) {
        var slot = home(name, namespace)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = UInt32(names.count)
        names.append(name)
    }

    /// The first interface called `name` for which `isInNamespace` holds; it must hold for those of `namespace` only.
    func find(_ name: String, namespace: NamespaceIndex, where isInNamespace: (InterfaceIndex) -> Bool) -> InterfaceIndex? {
        var slot = home(name, namespace)
        while slots[slot] != 0 {
            let index = InterfaceIndex(slots[slot])
            if isInNamespace(index), self[index] == name { return index }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private func home(_ name: String, _ namespace: NamespaceIndex) -> Int {
        var hash = UInt64(namespace.rawValue) ^ 0xcbf2_9ce4_8422_2325
        var name = name
        name.withUTF8 { for byte in $0 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 } }
        return Int(truncatingIfNeeded: (hash &* 0x9e37_79b9_7f4a_7c15) >> 32) & (slots.count - 1)
    }
}
