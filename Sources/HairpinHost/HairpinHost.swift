// HairpinHost: machines made of a datapath, transport stacks and processes.
//
//   Simulation        what a user owns: topology in, events run, processes started, books read. No global state; two at once are fine.
//   Build             topology → logical processes, namespaces, interfaces, cables
//   NodeKernel        one logical process with the stacks and processes of its namespaces
//   UpperLayers       what the logical process calls: packets up to the stacks, wake-ups to processes
//   StackNetwork      IP as a transport stack sees it
//   RawSocket         packets made outside, sent as a host's own; Counters: what its transport has counted; TCPTracing: its connections
//   Process/          a program's system calls: sockets and who waits for them, files, pipes, children, configuration
//   Files/            containers' files and the volumes they share
//
// A frame that reaches a socket comes up through UpperLayers.deliver and TransportStack.receive; what a program sends goes down through
// Process, TransportStack and StackNetwork.send to LogicalProcess.send.
