import HairpinBenchmarks
import Testing

@Suite("Measurements")
struct MeasurementTests {
    @Test("An error says what is allowed and nothing else")
    func errors() {
        #expect(BenchmarkError.usage("--hosts must be from 2 to 4096").description == "--hosts must be from 2 to 4096")
    }
}
