// What an idle pod costs: a node with an IPv4 stack, a SimpleNetDevice, a port of the switch at the link's other end, and an address.
//
//     pods [--n=1000]
//
// Time is that of creating all of them; memory is the growth of the resident set.
// Output: "pods n=1000 pods/s=10000 KiB/pod=17.2".
#include "common.h"
#include "ns3/bridge-module.h"
#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include <fstream>
#include <iostream>
#include <unistd.h>
using namespace ns3;

namespace
{

double ResidentKiB()
{
    std::ifstream file("/proc/self/statm");
    long total = 0, resident = 0;
    file >> total >> resident;
    return resident * (sysconf(_SC_PAGESIZE) / 1024.0);
}

NodeContainer MakePods(uint32_t n)
{
    NodeContainer pods;
    pods.Create(n);
    NetDeviceContainer devices, ports;
    Ptr<Node> node = CreateObject<Node>();
    SimpleNetDeviceHelper link;
    link.SetDeviceAttribute("DataRate", StringValue("1Gbps"));
    for (uint32_t i = 0; i < n; i++)
    {
        NetDeviceContainer ends = link.Install(NodeContainer(pods.Get(i), node));
        devices.Add(ends.Get(0));
        ports.Add(ends.Get(1));
    }
    BridgeHelper().Install(node, ports);
    InternetStackHelper stack;
    stack.SetIpv6StackInstall(false);
    stack.Install(pods);
    Ipv4AddressHelper addresses("10.0.0.0", "255.255.0.0");
    addresses.Assign(devices);
    return pods;
}

} // namespace

int main(int argc, char** argv)
{
    uint32_t n = 1000;
    CommandLine cmd(__FILE__);
    cmd.AddValue("n", "pods", n);
    cmd.Parse(argc, argv);
    NS_ABORT_MSG_IF(n < 1 || n > 60000, "1 to 60000 pods");
    // Types and their attributes are registered once in a process.
    {
        NodeContainer first;
        first.Create(1);
        InternetStackHelper stack;
        stack.SetIpv6StackInstall(false);
        stack.Install(first);
    }
    double memory = ResidentKiB(), begin = WallSeconds();
    NodeContainer pods = MakePods(n);
    double seconds = WallSeconds() - begin;
    memory = ResidentKiB() - memory;
    std::cout << "pods n=" << n << " pods/s=" << static_cast<uint64_t>(n / seconds) << " KiB/pod=" << memory / n << std::endl;
    _exit(0);
}
