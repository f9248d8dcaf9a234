// HairpinCapture: what tap points show, as files that Wireshark opens.
//
// A frame comes in at `CaptureBuffer.saw` (one buffer per logical process, called by the datapath), waits in raw memory, and leaves through
// the writers when `CaptureSession.flush` merges the buffers in canonical order.
//
//   Session/   CaptureSession, its buffers, the merge, which interfaces and where to
//   Output/    PcapWriter, PcapngWriter over RecordOutput: raw buffers, large writes, whole records also on a full disk
//   Filter/    CaptureFilter: pcap-filter(7), compiled and run by libpcap
//   Read/      CaptureReader: pcap and pcapng of either byte order, gzip through zlib, anything else through libpcap
//
// The only importer of CLibPCAP and CZlib. It knows nothing of clusters: interfaces are described to it.
