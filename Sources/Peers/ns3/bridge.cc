// N hosts on one BridgeNetDevice that send frames to each other: Poisson arrivals, uniform random unicast, links of 1 Gbit/s.
//
//     bridge [--n=16] [--size=64] [--frames=300000] [--type=simple|csma] [--load=0.3] [--pcap=PREFIX] [--sched=ns3::MapScheduler]
//
// simple: SimpleNetDevice, full duplex, 1 us; its packets have no Ethernet header. csma: CsmaNetDevice, an Ethernet header and an FCS, half duplex,
// 0.1 us; with PREFIX every host's device writes a pcap file, so that a frame is captured where it is sent and where it arrives. SIZE counts header
// and FCS. A tenth of the frames goes before what is measured.
// Output: "bridge type=simple n=16 size=64 frames/s=400000 events/frame=5".
#include "common.h"
#include "ns3/bridge-module.h"
#include "ns3/core-module.h"
#include "ns3/csma-module.h"
#include "ns3/network-module.h"
#include <iostream>
using namespace ns3;

namespace
{

constexpr uint32_t HEADER_AND_FCS = 18;
constexpr uint16_t PROTOCOL = 0x0800;

class Senders
{
public:
    Senders(NetDeviceContainer devices, uint32_t payload, double meanGap) : m_payload(payload), m_gaps(meanGap)
    {
        for (uint32_t i = 0; i < devices.GetN(); i++)
        {
            m_devices.push_back(devices.Get(i));
            m_addresses.push_back(devices.Get(i)->GetAddress());
            devices.Get(i)->SetReceiveCallback(MakeCallback(&Senders::Receive, this));
        }
    }

    // The switch has to know every address: each host speaks once to all.
    void ScheduleLearning(Time spacing)
    {
        for (uint32_t i = 0; i < m_devices.size(); i++) Simulator::Schedule(spacing * (i + 1), &Senders::Broadcast, this, i);
    }

    void ScheduleTraffic()
    {
        for (uint32_t i = 0; i < m_devices.size(); i++) Simulator::Schedule(NanoSeconds(m_gaps.At(NextRandom())), &Senders::Send, this, i);
    }

    uint64_t Received() const { return m_received; }

private:
    void Broadcast(uint32_t host) { m_devices[host]->Send(Create<Packet>(m_payload), m_devices[host]->GetBroadcast(), PROTOCOL); }

    void Send(uint32_t host)
    {
        uint64_t random = NextRandom();
        uint32_t destination = ((random >> 32) * (m_devices.size() - 1)) >> 32;
        if (destination >= host) destination++;
        m_devices[host]->Send(Create<Packet>(m_payload), m_addresses[destination], PROTOCOL);
        Simulator::Schedule(NanoSeconds(m_gaps.At(random)), &Senders::Send, this, host);
    }

    bool Receive(Ptr<NetDevice>, Ptr<const Packet>, uint16_t, const Address&)
    {
        m_received++;
        return true;
    }

    std::vector<Ptr<NetDevice>> m_devices;
    std::vector<Address> m_addresses;
    uint32_t m_payload;
    ExponentialTimes m_gaps;
    uint64_t m_received = 0;
};

void RunFor(double nanoseconds)
{
    Simulator::Stop(NanoSeconds(static_cast<int64_t>(nanoseconds)));
    Simulator::Run();
}

} // namespace

int main(int argc, char** argv)
{
    uint32_t n = 16, size = 64, frames = 300000;
    double load = 0.3;
    std::string type = "simple", scheduler = "ns3::MapScheduler", pcap;
    CommandLine cmd(__FILE__);
    cmd.AddValue("n", "hosts", n);
    cmd.AddValue("size", "bytes of a frame, Ethernet header and FCS included", size);
    cmd.AddValue("frames", "frames that are measured, about", frames);
    cmd.AddValue("type", "simple or csma", type);
    cmd.AddValue("load", "share of its link that a host sends", load);
    cmd.AddValue("pcap", "prefix of the hosts' pcap files (csma)", pcap);
    cmd.AddValue("sched", "scheduler", scheduler);
    cmd.Parse(argc, argv);
    NS_ABORT_MSG_IF(n < 2 || size < 64 || frames < 10 || load <= 0 || load > 1, "at least 2 hosts, 64 bytes, 10 frames; a load above 0 and at most 1");
    NS_ABORT_MSG_IF(type != "simple" && type != "csma", "--type is simple or csma");
    GlobalValue::Bind("SchedulerType", TypeIdValue(TypeId::LookupByName(scheduler)));

    NodeContainer hosts;
    hosts.Create(n);
    Ptr<Node> node = CreateObject<Node>();
    NetDeviceContainer devices, ports;
    SimpleNetDeviceHelper simple;
    simple.SetDeviceAttribute("DataRate", StringValue("1Gbps"));
    simple.SetChannelAttribute("Delay", StringValue("1us"));
    simple.DisableFlowControl();
    CsmaHelper csma;
    csma.SetChannelAttribute("DataRate", StringValue("1Gbps"));
    csma.SetChannelAttribute("Delay", StringValue("100ns"));
    for (uint32_t i = 0; i < n; i++)
    {
        NodeContainer ends(hosts.Get(i), node);
        NetDeviceContainer link = type == "csma" ? csma.Install(ends) : simple.Install(ends);
        if (type == "csma" && !pcap.empty()) csma.EnablePcap(pcap, link.Get(0), true);
        devices.Add(link.Get(0));
        ports.Add(link.Get(1));
    }
    BridgeHelper().Install(node, ports);

    const double gap = size * 8.0 / load; // a byte takes 8 ns
    Senders senders(devices, size - HEADER_AND_FCS, gap);
    senders.ScheduleLearning(MicroSeconds(200));
    RunFor(200e3 * (n + 5));
    senders.ScheduleTraffic();
    RunFor(gap * frames / 10 / n);

    uint64_t received = senders.Received(), events = Simulator::GetEventCount();
    double begin = WallSeconds();
    RunFor(gap * frames / n);
    double seconds = WallSeconds() - begin;
    received = senders.Received() - received;
    events = Simulator::GetEventCount() - events;
    std::cout << "bridge type=" << type << " n=" << n << " size=" << size << " frames/s=" << static_cast<uint64_t>(received / seconds)
              << " events/frame=" << static_cast<double>(events) / received << std::endl;
    // Files are closed; taking the network down is not measured.
    Simulator::Destroy();
    return 0;
}
