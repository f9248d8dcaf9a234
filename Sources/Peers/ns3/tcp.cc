// Bulk TCP over host - BridgeNetDevice - host: SimpleNetDevice links of 1 Gbit/s and 50 us, MSS 1448.
//
//     tcp [--flows=1] [--hosts=2] [--buf=131072] [--warm=0.1] [--sim=1] [--cc=ns3::TcpCubic]
//
// Flow f goes from host f mod HOSTS to another at random. SIM virtual seconds are measured after WARM. BUF is each socket buffer's size: with buffers far
// beyond the bandwidth-delay product queues overflow, and losses are what is measured.
// Output: "tcp flows=1 hosts=2 segments/s=60000 virtual/wall=0.75"; segments are received payload divided by 1448, a second of wall time.
#include "common.h"
#include "ns3/applications-module.h"
#include "ns3/bridge-module.h"
#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include <iostream>
#include <unistd.h>
using namespace ns3;

namespace
{

constexpr uint32_t SEGMENT = 1448;

uint64_t Received(const ApplicationContainer& sinks)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < sinks.GetN(); i++) bytes += DynamicCast<PacketSink>(sinks.Get(i))->GetTotalRx();
    return bytes;
}

void RunFor(double seconds)
{
    Simulator::Stop(Seconds(seconds));
    Simulator::Run();
}

} // namespace

int main(int argc, char** argv)
{
    uint32_t flows = 1, n = 2, buffer = 1 << 17;
    double warm = 0.1, sim = 1;
    std::string congestionControl = "ns3::TcpCubic";
    CommandLine cmd(__FILE__);
    cmd.AddValue("flows", "flows", flows);
    cmd.AddValue("hosts", "hosts", n);
    cmd.AddValue("buf", "bytes of each socket buffer", buffer);
    cmd.AddValue("warm", "virtual seconds before what is measured", warm);
    cmd.AddValue("sim", "virtual seconds that are measured", sim);
    cmd.AddValue("cc", "congestion control", congestionControl);
    cmd.Parse(argc, argv);
    NS_ABORT_MSG_IF(flows < 1 || flows > 60000 || n < 2 || n > 60000 || warm < 0 || sim <= 0, "1 to 60000 flows, 2 to 60000 hosts, times above 0");
    Config::SetDefault("ns3::TcpL4Protocol::SocketType", TypeIdValue(TypeId::LookupByName(congestionControl)));
    Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(SEGMENT));
    Config::SetDefault("ns3::TcpSocket::SndBufSize", UintegerValue(buffer));
    Config::SetDefault("ns3::TcpSocket::RcvBufSize", UintegerValue(buffer));

    NodeContainer hosts;
    hosts.Create(n);
    Ptr<Node> node = CreateObject<Node>();
    NetDeviceContainer devices, ports;
    for (uint32_t i = 0; i < n; i++)
    {
        SimpleNetDeviceHelper link;
        link.SetDeviceAttribute("DataRate", StringValue("1Gbps"));
        link.SetChannelAttribute("Delay", StringValue("50us"));
        NetDeviceContainer ends = link.Install(NodeContainer(hosts.Get(i), node));
        devices.Add(ends.Get(0));
        ports.Add(ends.Get(1));
    }
    BridgeHelper().Install(node, ports);
    InternetStackHelper().Install(hosts);
    Ipv4AddressHelper addresses("10.0.0.0", "255.255.0.0");
    Ipv4InterfaceContainer interfaces = addresses.Assign(devices);

    ApplicationContainer sinks;
    for (uint32_t f = 0; f < flows; f++)
    {
        uint32_t source = f % n, destination = (source + 1 + (NextRandom() >> 33) % (n - 1)) % n;
        uint16_t port = 5000 + f;
        PacketSinkHelper sink("ns3::TcpSocketFactory", InetSocketAddress(Ipv4Address::GetAny(), port));
        sinks.Add(sink.Install(hosts.Get(destination)));
        BulkSendHelper bulk("ns3::TcpSocketFactory", InetSocketAddress(interfaces.GetAddress(destination), port));
        bulk.SetAttribute("MaxBytes", UintegerValue(0));
        bulk.SetAttribute("SendSize", UintegerValue(65536));
        bulk.Install(hosts.Get(source)).Start(MicroSeconds(1000 + 10 * f));
    }

    RunFor(warm);
    uint64_t before = Received(sinks);
    double begin = WallSeconds();
    RunFor(sim);
    double seconds = WallSeconds() - begin;
    double segments = static_cast<double>(Received(sinks) - before) / SEGMENT;
    std::cout << "tcp flows=" << flows << " hosts=" << n << " segments/s=" << static_cast<uint64_t>(segments / seconds) << " virtual/wall=" << sim / seconds << std::endl;
    _exit(0);
}
