#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif
import Synchronization

// The operating system's threads, as far as a team of workers needs them.

/// A thread that runs one function.
final class WorkerThread {
    #if canImport(Darwin)
        private var thread: pthread_t?
    #else
        private var thread = pthread_t()
    #endif

    /// Starts at once. A system that gives no more threads is a fault nobody can work around: the number asked for is checked before.
    init(_ body: @escaping @Sendable () -> Void) {
        let box = Unmanaged.passRetained(Body(body))
        #if canImport(Darwin)
            let status = pthread_create(&thread, nil, { Unmanaged<Body>.fromOpaque($0).takeRetainedValue().run(); return nil }, box.toOpaque())
        #else
            let status = pthread_create(&thread, nil, { Unmanaged<Body>.fromOpaque($0!).takeRetainedValue().run(); return nil }, box.toOpaque())
        #endif
        precondition(status == 0, "the system gives no more threads")
    }

    /// Waits until the function has returned.
    func join() {
        #if canImport(Darwin)
            if let thread { pthread_join(thread, nil) }
        #else
            pthread_join(thread, nil)
        #endif
    }

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
}

/// What one thread sleeps by. Unchecked: the mutex and the condition are in raw memory and made for being shared.
final class Bell: @unchecked Sendable {
    /// Set before the sleeper's last look at what it waits for, so that who changes that knows whether to ring.
    private let isAsleep = Atomic<Bool>(false)
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }
    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Sleeps for as long as `mustSleep` says; it is asked again after each ring, and reads with sequentially consistent order. One thread only.
    func sleep(while mustSleep: () -> Bool) {
        isAsleep.store(true, ordering: .sequentiallyConsistent)
        pthread_mutex_lock(mutex)
        while mustSleep() { pthread_cond_wait(condition, mutex) }
        pthread_mutex_unlock(mutex)
        isAsleep.store(false, ordering: .relaxed)
    }

    /// Wakes the sleeper, and says whether there was one. What it asks about must have been changed before, with sequentially consistent order.
    @discardableResult
    func ring() -> Bool {
        guard isAsleep.load(ordering: .sequentiallyConsistent) else { return false }
        pthread_mutex_lock(mutex)
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
        return true
    }
}

/// Processors that threads can run on at once.
let processorCount = max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1)
