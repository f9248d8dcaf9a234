import HairpinCapture
import HairpinDatapath
import HairpinEngine

/// Counts the frames that `expect: - {frames: …}` asks about, in one logical process.
final class FrameCounter: TapObserver {
    /// For each expectation: which interfaces of this logical process, and which frames.
    private let questions: [(interfaces: Set<InterfaceIndex>, filter: CaptureFilter?)]
    private(set) var counts: [Int]

    init(questions: [(interfaces: Set<InterfaceIndex>, filter: CaptureFilter?)]) {
        self.questions = questions
        counts = Array(repeating: 0, count: questions.count)
    }

    func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) {
        for (place, question) in questions.enumerated() where question.interfaces.contains(event.interface) && question.filter?.matches(bytes) ?? true {
            counts[place] += 1
        }
    }

    func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) {}
}

/// Several observers at one tap.
final class TapFan: TapObserver {
    private let observers: [any TapObserver]
    init(_ observers: [any TapObserver]) { self.observers = observers }

    func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) { for observer in observers { observer.saw(bytes, event) } }
    func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) {
        for observer in observers { observer.dropped(bytes, event, reason: reason) }
    }
}
