#include "broker/memory_monitor.h"

#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"

namespace broker {
namespace {

// Each walks the whole heap: not at every look.
constexpr int kLooksBetweenTrims = 20;

}  // namespace

uint64_t ResidentBytes() {
  uint64_t size_pages = 0;
  uint64_t resident_pages = 0;
  std::ifstream("/proc/self/statm") >> size_pages >> resident_pages;
  return resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::vector<std::string> MemoryLimitFiles(std::istream& own_cgroups) {
  std::vector<std::string> files = {"/sys/fs/cgroup/memory.max",
                                    "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
  for (std::string line; std::getline(own_cgroups, line);) {
    if (line.compare(0, 3, "0::") != 0) continue;  // Version 2: one group, "0::/path".
    for (std::string path = line.substr(3); path.size() > 1; path.resize(path.rfind('/')))
      files.push_back("/sys/fs/cgroup" + path + "/memory.max");
  }
  return files;
}

uint64_t UsableMemoryBytes() {
  uint64_t usable =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::ifstream own_cgroups("/proc/self/cgroup");
  for (const std::string& path : MemoryLimitFiles(own_cgroups)) {
    std::string text;
    if (!(std::ifstream(path) >> text)) continue;
    // No limit: "max", or a number larger than any machine.
    const uint64_t limit = std::strtoull(text.c_str(), nullptr, 10);
    if (limit > 0) usable = std::min(usable, limit);
  }
  return usable;
}

MemoryMonitor::MemoryMonitor(uint64_t high_bytes, std::function<uint64_t()> used_bytes,
                             std::function<void(bool)> on_change)
    : high_bytes_(high_bytes),
      read_used_(std::move(used_bytes)),
      on_change_(std::move(on_change)),
      gate_(high_bytes) {}

MemoryMonitor::~MemoryMonitor() { Stop(); }

void MemoryMonitor::Start() {
  thread_ = std::thread([this] { Run(); });
}

void MemoryMonitor::Stop() {
  {
    const base::MutexLock lock(mutex_);
    stopping_ = true;
  }
  stopped_.SignalAll();
  if (thread_.joinable()) thread_.join();
}

void MemoryMonitor::Run() {
  pthread_setname_np(pthread_self(), "memory");
  for (;;) {
    Look();
    const base::MutexLock lock(mutex_);
    if (!stopping_) stopped_.WaitFor(mutex_, kInterval);
    if (stopping_) return;
  }
}

void MemoryMonitor::Look() {
  uint64_t used = read_used_();
  if (looks_to_trim_ > 0) --looks_to_trim_;
  if (gate_.Matters(used) && looks_to_trim_ == 0) {
    // The allocator keeps what was freed; only what it cannot give back is really in use.
    looks_to_trim_ = kLooksBetweenTrims;
    malloc_trim(0);
    used = read_used_();
  }
  used_.store(used, std::memory_order_relaxed);
  switch (gate_.Update(used)) {
    case MemoryGate::Change::kNone:
      return;
    case MemoryGate::Change::kRose:
      rises_.fetch_add(1, std::memory_order_relaxed);
      base::Log(base::LogLevel::kWarning, "memory is short: new clients are refused",
                {{"used_bytes", used}, {"high_bytes", high_bytes_}});
      break;
    case MemoryGate::Change::kFell:
      base::Log(base::LogLevel::kInfo, "memory is enough again",
                {{"used_bytes", used}, {"high_bytes", high_bytes_}});
      break;
  }
  on_change_(gate_.high());
  high_.store(gate_.high(), std::memory_order_release);
}

}  // namespace broker
