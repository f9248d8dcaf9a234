// HairpinScenario: a story about a cluster, told in virtual time.
//
//   File/      a scenario file → `Scenario`: what happens when, and what must hold. Knows YAML, not networks.
//   Run/       `World` boots the cluster of a scenario; `ScenarioRunner` runs its steps; `Execution` and `ClusterView` serve `exec` and `get`;
//              Controllers/ has those of workloads that steps restart or scale, one kind a file
//   Expect/    what must hold, checked against what happened
//   Report/    the transcript people read; JSON and JUnit that machines read
//   Builtin/   the scenarios that come with the program
//
// A file comes in at `ScenarioFile.load` and leaves as a `RunResult`. The module never sees a frame's insides: it asks the host layer for
// processes, books and taps, and the capture layer for files.
