import HairpinEngine
import HairpinScenario

/// One line on the terminal that shows how far the work has come; silent in the first second and when nobody watches.
final class ProgressLine {
    private let clock = ContinuousClock()
    private let begin: ContinuousClock.Instant
    private var nextDrawing: ContinuousClock.Instant
    private let isEnabled: Bool
    private var isDrawn = false

    init(isEnabled: Bool) {
        begin = clock.now
        nextDrawing = begin + .seconds(1)
        self.isEnabled = isEnabled && Talk.isTerminal
    }

    func update(_ progress: RunProgress) {
        update("\(progress.scenario): \(Quantity.words(progress.now - .zero)) of virtual time\(progress.activity.map { ", \($0)" } ?? "")")
    }

    func update(_ text: @autoclosure () -> String) {
        guard isEnabled, clock.now >= nextDrawing else { return }
        nextDrawing = clock.now + .milliseconds(100)
        isDrawn = true
        Talk.write(Array("\r\u{1b}[K\(text())".utf8))
    }

    /// Takes the line away before something else is printed.
    func clear() {
        guard isDrawn else { return }
        isDrawn = false
        Talk.write(Array("\r\u{1b}[K".utf8))
    }

    /// Wall time since the line was made, for people.
    var elapsed: String {
        let elapsed = clock.now - begin
        let milliseconds = Double(elapsed.components.seconds) * 1e3 + Double(elapsed.components.attoseconds) / 1e15
        return milliseconds < 1000 ? "\(Int(milliseconds.rounded())) ms" : "\(Double(Int(milliseconds / 10)) / 100) s"
    }
}
