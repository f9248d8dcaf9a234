// HairpinHost: machines made of a datapath, transport stacks and processes.
//
//   Simulation        what a user owns: topology in, events run, processes started, books read. No global state; two at once are fine.
//   Build             topology → logical processes, namespaces, interfaces, cables
//   NodeKernel        one logical process with the stacks and processes of its namespaces (the layers above IP)
//   StackNetwork      IP as a transport stack sees it
//   Process/          a program's system calls: sockets, files, pipes, children, configuration
//   Files/            containers' files and the volumes they share
//
// A frame that reaches a socket comes up through NodeKernel.deliver and TransportStack.receive; what a program sends goes down through
// Process, TransportStack and StackNetwork.send to LogicalProcess.send.
