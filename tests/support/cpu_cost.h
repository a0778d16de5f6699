// What a piece of work costs, in processor time: other programs on the machine do not count.
#ifndef TESTS_SUPPORT_CPU_COST_H_
#define TESTS_SUPPORT_CPU_COST_H_

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <string>

namespace support {

// Nanoseconds of processor time for each of `items`, the least of `times` runs of `work()`, which
// does all of them.
template <typename Work>
double CpuNsPerItem(size_t items, int times, Work&& work) {
  double least = 0;
  for (int i = 0; i < times; ++i) {
    const std::clock_t start = std::clock();
    work();
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    const double ns = seconds * 1e9 / static_cast<double>(items);
    least = i == 0 ? ns : std::min(least, ns);
  }
  return least;
}

// Prints what an item costs among N and among 10 N, and returns by how many times more among 10 N.
// What costs next to nothing (below `floor_ns`) counts as that: it is all noise.
inline double PrintedRatio(const std::string& what, double ns_of_n, double ns_of_10n,
                           double floor_ns = 100) {
  std::printf("%s: %.0f ns each among N, %.0f ns among 10 N\n", what.c_str(), ns_of_n, ns_of_10n);
  return std::max(ns_of_10n, floor_ns) / std::max(ns_of_n, floor_ns);
}

}  // namespace support

#endif  // TESTS_SUPPORT_CPU_COST_H_
