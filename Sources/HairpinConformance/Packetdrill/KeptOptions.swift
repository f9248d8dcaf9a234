import HairpinTransport

/// A socket option that changes no packet: kept within the range Linux allows, and given back by getsockopt(2). What Linux 6.18 takes and gives was asked of
/// it option by option, on a TCP socket (`sk_setsockopt`, `do_ip_setsockopt`, `do_tcp_setsockopt`).
struct KeptOption {
    struct Place: Hashable {
        var level: Int64
        var name: Int64
    }
    private enum Rule {
        /// Any number other than zero is one.
        case flag
        /// Others are EINVAL.
        case within(ClosedRange<Int32>)
        /// Only zero, which nothing comes of, or the error.
        case zeroElse(Errno)
        /// Cannot be set.
        case refuses(Errno)
        /// Taken, and forgotten.
        case forgets(ClosedRange<Int32>)
    }
    private var rule: Rule
    /// Before it is set; nil: it cannot be read.
    var standard: Int64?
    /// What getsockopt(2) says then.
    var refusal: Int32 { if let unreadable { unreadable.rawValue } else if case .refuses(let error) = rule { error.rawValue } else { Errno.noProtocolOption.rawValue } }

    private var unreadable: Errno?

    private init(_ rule: Rule, _ standard: Int64? = 0, unreadable: Errno? = nil) { (self.rule, self.standard, self.unreadable) = (rule, standard, unreadable) }

    /// The value that is kept.
    func taken(_ number: Int32) throws(Errno) -> Int64 {
        switch rule {
        case .flag: return number != 0 ? 1 : 0
        case .within(let range):
            guard range ~= number else { throw .invalid }
            // SO_TXREHASH: -1 is what is usual.
            return number == -1 && standard == 1 ? 1 : Int64(number)
        case .forgets(let range):
            guard range ~= number else { throw .invalid }
            return standard ?? 0
        case .zeroElse(let error):
            guard number == 0 else { throw error }
            return 0
        case .refuses(let error): throw error
        }
    }

    private static let anything = Int32.min...Int32.max
    private static let natural: ClosedRange<Int32> = 0...Int32.max

    static let all: [Place: KeptOption] = {
        var all: [Place: KeptOption] = [:]
        func add(_ level: Int64, _ names: [Int64], _ option: KeptOption) { for name in names { all[Place(level: level, name: name)] = option } }
        // SO_DEBUG, SO_DONTROUTE, SO_BROADCAST, SO_NO_CHECK, SO_REUSEPORT, SO_TIMESTAMP and SO_TIMESTAMPNS in both forms, SO_RXQ_OVFL, SO_WIFI_STATUS,
        // SO_NOFCS, SO_LOCK_FILTER, SO_SELECT_ERR_QUEUE, SO_PREFER_BUSY_POLL, SO_RCVMARK, SO_RCVPRIORITY
        add(1, [1, 5, 6, 11, 15, 29, 35, 40, 41, 43, 44, 45, 63, 64, 69, 75, 82], KeptOption(.flag))
        // SO_PRIORITY, SO_MARK, SO_INCOMING_CPU, SO_BUSY_POLL, SO_BINDTOIFINDEX, SO_TXREHASH
        add(1, [12, 36], KeptOption(.within(anything)))
        add(1, [49], KeptOption(.within(anything), -1))
        add(1, [46, 62], KeptOption(.within(natural)))
        add(1, [74], KeptOption(.within(-1...1), 1))
        // SO_BSDCOMPAT; SO_CNX_ADVICE and SO_BUSY_POLL_BUDGET, which cannot be read; SO_RESERVE_MEM without memory control groups
        add(1, [14], KeptOption(.forgets(anything)))
        add(1, [53], KeptOption(.forgets(anything), nil))
        add(1, [70], KeptOption(.forgets(0...65_535), nil))
        add(1, [73], KeptOption(.refuses(.notSupported)))
        // Of other address families: SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD, SO_PASSRIGHTS
        add(1, [16, 34, 76, 83], KeptOption(.refuses(.notSupported), nil))
        // Read only: SO_SNDLOWAT, SO_BPF_EXTENSIONS, SO_INCOMING_NAPI_ID
        add(1, [19], KeptOption(.refuses(.noProtocolOption), 1))
        add(1, [48], KeptOption(.refuses(.noProtocolOption), 64))
        add(1, [56], KeptOption(.refuses(.noProtocolOption)))
        // TCP_THIN_DUPACK, TCP_IS_MPTCP
        add(6, [17], KeptOption(.forgets(0...1)))
        // TCP_TX_DELAY, which only the queue discipline fq obeys
        add(6, [37], KeptOption(.within(natural)))
        // TCP_REPAIR, which is off, and what goes with it: TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ and TCP_REPAIR_WINDOW, TCP_REPAIR_OPTIONS
        add(6, [19], KeptOption(.zeroElse(.notPermitted)))
        add(6, [20, 21, 29], KeptOption(.refuses(.notPermitted), nil, unreadable: .invalid))
        add(6, [22], KeptOption(.refuses(.invalid), nil, unreadable: .noProtocolOption))
        // TCP_SAVED_SYN, which is read otherwise
        add(6, [28], KeptOption(.refuses(.noProtocolOption), nil))
        // TCP_ZEROCOPY_RECEIVE; the options of TCP-AO, which is not built in
        add(6, [35], KeptOption(.refuses(.noProtocolOption), nil, unreadable: .invalid))
        add(6, [38, 39, 40, 41, 42], KeptOption(.refuses(.noProtocolOption), nil))
        add(6, [43], KeptOption(.refuses(.noProtocolOption)))
        // IP_RECVOPTS, IP_RETOPTS, IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_PASSSEC, IP_RECVORIGDSTADDR, IP_CHECKSUM
        add(0, [6, 7, 8, 12, 13, 18, 20, 23], KeptOption(.flag))
        // IP_MULTICAST_LOOP, IP_MULTICAST_ALL, IP_RECVERR_RFC4884, IP_UNICAST_IF
        add(0, [34], KeptOption(.flag, 1))
        add(0, [49], KeptOption(.within(0...1), 1))
        add(0, [26], KeptOption(.within(0...1)))
        add(0, [50], KeptOption(.zeroElse(.addressNotAvailable)))
        // Not of stream sockets: IP_HDRINCL, IP_NODEFRAG, IP_PROTOCOL; IP_ROUTER_ALERT, IP_RECVFRAGSIZE, IP_MULTICAST_IF, IP_MULTICAST_TTL
        add(0, [3, 22, 52], KeptOption(.refuses(.noProtocolOption)))
        add(0, [5, 25, 32], KeptOption(.refuses(.invalid)))
        add(0, [33], KeptOption(.refuses(.invalid), 1))
        // IPV6_V6ONLY
        add(41, [26], KeptOption(.flag))
        return all
    }()
}
