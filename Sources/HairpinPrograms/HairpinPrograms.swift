// HairpinPrograms: what runs in containers. Programs are state machines that run until they would block.
//
//   SystemCalls       what a program may ask of its kernel, and what it may wait for
//   CommandTable      commands by name: what a shell or `exec` finds on its PATH
//   Images/           container images as behaviours
//   Shell/            sh: syntax, expansion, built-ins, pipelines
//   Network/          curl, wget, ping, arping, dig, nslookup, host, nc, ip, nstat, iperf3, netperf, tcp_peer, a script-driven TCP client and server
//   Servers/          nginx, httpd, agnhost, redis, whoami, http-echo, CoreDNS, and a stand-in for unknown images
//   HTTP/ DNS/ Resolve/   messages, transfers, resolv.conf and the search list
//   Files/ Miscellany Support/   cat, grep, awk and the like; text, calendar, how much processor time things take
//
// A process starts in HairpinHost, which calls `Program.resume` whenever something it waits for has happened. Bytes leave through
// `SystemCalls.send` and come back through `SystemCalls.receive`. It knows nothing of frames, interfaces' insides or Kubernetes objects.
