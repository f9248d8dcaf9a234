import Foundation
import Synchronization

/// Ctrl-C and SIGTERM, as a flag that loops look at between slices of virtual time: nothing is torn down inside a signal handler, so captures
/// are always closed properly. A second signal ends the program at once.
enum Interruption {
    private static let requested = Atomic<Bool>(false)

    static var isRequested: Bool { requested.load(ordering: .relaxed) }

    static func install() {
        for signalNumber in [SIGINT, SIGTERM] {
            signal(signalNumber) { number in
                Interruption.requested.store(true, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
        // A closed pipe is an output error (74), reported like any other.
        signal(SIGPIPE, SIG_IGN)
    }
}
