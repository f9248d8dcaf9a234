// What the ns-3 programs share: a wall clock, and random numbers that cost as little as those of the C programs.
#pragma once
#include <chrono>
#include <cmath>
#include <cstdint>
#include <vector>

inline double WallSeconds()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// xorshift64*; the seed never changes, so that every run does the same work.
inline uint64_t NextRandom()
{
    static uint64_t state = 0x9E3779B97F4A7C15ull;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Dull;
}

// Exponentially distributed times, at least 1 ns. The numbers are drawn beforehand: logarithms are not what is measured.
class ExponentialTimes
{
public:
    explicit ExponentialTimes(double meanNanoseconds) : m_times(65536)
    {
        for (auto& time : m_times)
        {
            double uniform = ((NextRandom() >> 11) + 0.5) / 9007199254740992.0;
            time = static_cast<int64_t>(-std::log(uniform) * meanNanoseconds) + 1;
        }
    }
    int64_t At(uint64_t random) const { return m_times[random & 65535]; }

private:
    std::vector<int64_t> m_times;
};
