// The hold model (Jones 1986) on ns-3's schedulers: n events are pending; each step takes the least and puts one back later by an exponentially
// distributed time of mean 1 ms.
//
//     hold [--n=1000] [--ops=1000000] [--sched=ns3::MapScheduler] [--level=raw|sim]
//
// raw: the scheduler alone, without events to run. sim: through Simulator::Schedule, each event a function call.
// Output: "hold level=raw sched=ns3::MapScheduler n=1000 operations/s=6000000".
#include "common.h"
#include "ns3/core-module.h"
#include <iostream>
#include <unistd.h>
using namespace ns3;

namespace
{

const ExponentialTimes increments(1e6);
uint64_t left;

Scheduler::Event Pending(uint64_t time, uint32_t number)
{
    Scheduler::Event event;
    event.impl = nullptr;
    event.key.m_ts = time;
    event.key.m_uid = number;
    event.key.m_context = 0;
    return event;
}

double HoldRaw(const std::string& scheduler, uint32_t n, uint64_t operations)
{
    ObjectFactory factory;
    factory.SetTypeId(scheduler);
    Ptr<Scheduler> queue = factory.Create<Scheduler>();
    uint32_t number = 1;
    for (uint32_t i = 0; i < n; i++) queue->Insert(Pending(increments.At(NextRandom()), number++));
    auto run = [&](uint64_t steps) {
        for (uint64_t i = 0; i < steps; i++)
        {
            uint64_t now = queue->RemoveNext().key.m_ts;
            queue->Insert(Pending(now + increments.At(NextRandom()), number++));
        }
    };
    // Brings the times' distribution to its steady state.
    run(n);
    double begin = WallSeconds();
    run(operations);
    return WallSeconds() - begin;
}

void Again()
{
    if (--left == 0) Simulator::Stop();
    Simulator::Schedule(NanoSeconds(increments.At(NextRandom())), &Again);
}

double HoldSimulator(const std::string& scheduler, uint32_t n, uint64_t operations)
{
    GlobalValue::Bind("SchedulerType", TypeIdValue(TypeId::LookupByName(scheduler)));
    for (uint32_t i = 0; i < n; i++) Simulator::Schedule(NanoSeconds(increments.At(NextRandom())), &Again);
    left = n;
    Simulator::Run();
    left = operations;
    double begin = WallSeconds();
    Simulator::Run();
    return WallSeconds() - begin;
}

} // namespace

int main(int argc, char** argv)
{
    uint32_t n = 1000;
    uint64_t operations = 1000000;
    std::string scheduler = "ns3::MapScheduler", level = "raw";
    CommandLine cmd(__FILE__);
    cmd.AddValue("n", "pending events", n);
    cmd.AddValue("ops", "steps that are measured", operations);
    cmd.AddValue("sched", "scheduler", scheduler);
    cmd.AddValue("level", "raw or sim", level);
    cmd.Parse(argc, argv);
    NS_ABORT_MSG_IF(n < 1 || operations < 1, "at least one pending event and one step");
    NS_ABORT_MSG_IF(level != "raw" && level != "sim", "--level is raw or sim");
    double seconds = level == "raw" ? HoldRaw(scheduler, n, operations) : HoldSimulator(scheduler, n, operations);
    std::cout << "hold level=" << level << " sched=" << scheduler << " n=" << n << " operations/s=" << static_cast<uint64_t>(operations / seconds) << std::endl;
    // A million events are not taken down one by one.
    _exit(0);
}
