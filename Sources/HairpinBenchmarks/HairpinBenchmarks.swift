// HairpinBenchmarks: the jobs of `hairpin bench`, and what repeats and times them.
//
//   Benchmark        a job: built once, warmed up, then run as often as asked
//   BenchmarkRunner  repeats a job and sums up its figures
//   TCP/             bulk TCP between pods of a node, over its bridge or through a Service
//   Service/         first and established packets through the rules of many Services
//   Cluster/         nodes full of idle pods: what a pod costs in memory and set-up time
//   Threads/         busy nodes on one thread and on several
//
// A job drives the code that scenarios run, through the same calls; there is no path of its own for speed. The only module below the command
// line that reads a clock: figures are what it is for.
