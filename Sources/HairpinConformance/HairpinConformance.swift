// HairpinConformance: bodies of reference cases, run in emulated networks and compared.
//
//   Reality/   recordings of a Linux kernel: a scenario.json becomes a topology, its steps are run, every interface is captured
//   NetworkPolicy/   policies and labels that come and go in an emulated cluster, and who reaches whom after each step
//   Compare/   canonical text of captures, and how alike two folders of them are
//   Packetdrill/   packetdrill scripts: parsed, and played against one transport stack in virtual time
