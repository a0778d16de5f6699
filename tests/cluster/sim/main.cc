// The simulator of a cluster: `./dev sim` is the way to call it.
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/cluster/sim/world.h"

namespace simulator {
namespace {

constexpr const char* kHelp = R"(cluster_sim [SEEDS] [--seed N [--explain]] [--first N] [--mutants]

Three whole nodes, the network between them and clients, in one thread on virtual time: crashes,
partitions, bad disks, clocks that are set. What the cluster promises is checked of what the clients
saw. One seed is one run.

  SEEDS       so many seeds, from 1 on (default 300)
  --first N   from N on
  --seed N    this one alone; --explain: told line by line
  --mutants   clusters with something wrong: each must be found within 100 seeds
)";

struct Arguments {
  uint64_t first = 1;
  uint64_t seeds = 300;
  bool explain = false;
  bool mutants = false;
};

struct NamedMutant {
  Mutant mutant;
  const char* name;
};
constexpr NamedMutant kMutants[] = {
    {Mutant::kDropRouteDelta, "drop one route delta"},
    {Mutant::kAcknowledgeBeforeCommit, "acknowledge before commit"},
    {Mutant::kSkipSequence, "skip the sequence check"},
    {Mutant::kRefuseAfterProposing, "refuse after proposing"},
    {Mutant::kResendFromHead, "resend from the head"},
    {Mutant::kDropOutboxEarly, "drop the outbox record early"},
    {Mutant::kShareTwice, "store twice for a group's member"},
    {Mutant::kForgetLeft, "forget what a group's member leaves"},
};

// What a run says to the process that started it: lines of a word and a value.
std::string Encode(const Outcome& outcome) {
  std::string text =
      absl::StrCat("published ", outcome.published, "\ndeliveries ", outcome.deliveries,
                   "\ndeaths ", outcome.deaths, "\nelections ", outcome.elections, "\naside ",
                   outcome.aside, "\ndigest ", outcome.digest, "\n");
  for (const auto& [name, count] : outcome.known)
    absl::StrAppend(&text, "known ", count, " ", name, "\n");
  for (const std::string& failure : outcome.failures)
    absl::StrAppend(&text, "failure ", failure, "\n");
  return text;
}

Outcome Decode(const std::string& text) {
  Outcome outcome;
  for (const auto line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    if (parts.size() < 2) continue;
    const uint64_t number = std::strtoull(parts[1].c_str(), nullptr, 10);
    if (parts[0] == "published") outcome.published = number;
    if (parts[0] == "deliveries") outcome.deliveries = number;
    if (parts[0] == "deaths") outcome.deaths = number;
    if (parts[0] == "elections") outcome.elections = number;
    if (parts[0] == "aside") outcome.aside = number;
    if (parts[0] == "digest") outcome.digest = number;
    if (parts[0] == "failure") outcome.failures.push_back(parts[1]);
    if (parts[0] == "known") outcome.known[parts[1].substr(parts[1].find(' ') + 1)] += number;
  }
  return outcome;
}

// In a process of its own: whatever a seed does, the next one begins as if it were the first, and a
// failed CHECK is a failure of one seed.
Outcome RunApart(const WorldOptions& options) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    const std::string text = Encode(World(options).Run());
    size_t written = 0;
    while (written < text.size()) {
      const ssize_t count = write(ends[1], text.data() + written, text.size() - written);
      if (count <= 0) break;
      written += static_cast<size_t>(count);
    }
    std::fflush(stdout);
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t count = 0; (count = read(ends[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(count));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  Outcome outcome = Decode(text);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    outcome.failures.insert(outcome.failures.begin(), "the broker's own CHECKs: it ended");
  return outcome;
}

int RunSeeds(const Arguments& arguments) {
  Outcome sum;
  uint64_t failed = 0;
  for (uint64_t i = 0; i < arguments.seeds; ++i) {
    const uint64_t seed = arguments.first + i;
    const Outcome outcome = RunApart({.seed = seed, .explain = arguments.explain});
    sum.published += outcome.published;
    sum.deliveries += outcome.deliveries;
    sum.deaths += outcome.deaths;
    sum.elections += outcome.elections;
    sum.aside += outcome.aside;
    sum.digest = sum.digest * 31 + outcome.digest;
    for (const auto& [name, count] : outcome.known) sum.known[name] += count;
    if (!outcome.failures.empty()) {
      ++failed;
      std::printf("seed %llu: %s (%zu failures)\n", static_cast<unsigned long long>(seed),
                  outcome.failures.front().c_str(), outcome.failures.size());
    }
    if ((i + 1) % 50 == 0 && i + 1 < arguments.seeds)
      std::printf("%llu seeds, %llu failed\n", static_cast<unsigned long long>(i + 1),
                  static_cast<unsigned long long>(failed));
    std::fflush(stdout);
  }
  for (const auto& [name, count] : sum.known)
    std::printf("known: %s: %llu\n", name.c_str(), static_cast<unsigned long long>(count));
  std::printf(
      "%llu seeds, %llu failed: %llu messages acknowledged, %llu delivered, %llu nodes died, %llu "
      "stepped aside, %llu elections (run %08llx)\n",
      static_cast<unsigned long long>(arguments.seeds), static_cast<unsigned long long>(failed),
      static_cast<unsigned long long>(sum.published),
      static_cast<unsigned long long>(sum.deliveries), static_cast<unsigned long long>(sum.deaths),
      static_cast<unsigned long long>(sum.aside), static_cast<unsigned long long>(sum.elections),
      static_cast<unsigned long long>(sum.digest & 0xFFFFFFFF));
  if (failed != 0 && !arguments.explain) std::printf("next: ./dev sim --seed N --explain\n");
  return failed == 0 ? 0 : 1;
}

int RunMutants() {
  constexpr uint64_t kSeeds = 100;
  int missed = 0;
  for (const NamedMutant& one : kMutants) {
    uint64_t seed = 1;
    Outcome outcome;
    for (; seed <= kSeeds; ++seed) {
      outcome = RunApart({.seed = seed, .mutant = one.mutant});
      if (!outcome.failures.empty()) break;
    }
    if (seed > kSeeds) {
      ++missed;
      std::printf("%s: not found\n", one.name);
    } else {
      std::printf("%s: found with seed %llu: %s\n", one.name, static_cast<unsigned long long>(seed),
                  outcome.failures.front().c_str());
    }
    std::fflush(stdout);
  }
  return missed == 0 ? 0 : 1;
}

bool Parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    uint64_t* value = nullptr;
    if (word == "--explain") {
      arguments.explain = true;
    } else if (word == "--mutants") {
      arguments.mutants = true;
    } else if (word == "--seed" || word == "--first") {
      if (word == "--seed") arguments.seeds = 1;
      value = &arguments.first;
      if (++i >= argc) return false;
    } else {
      value = &arguments.seeds;
    }
    if (value != nullptr && !absl::SimpleAtoi(argv[i], value)) return false;
  }
  return true;
}

}  // namespace
}  // namespace simulator

int main(int argc, char** argv) {
  // Hash tables are laid out by addresses: a seed is the same run if these are the same.
  const int persona = personality(0xFFFFFFFF);
  if (persona >= 0 && (persona & ADDR_NO_RANDOMIZE) == 0 &&
      personality(static_cast<unsigned long>(persona) | ADDR_NO_RANDOMIZE) >= 0) {
    execv("/proc/self/exe", argv);
  }
  simulator::Arguments arguments;
  if (!simulator::Parse(argc, argv, arguments)) {
    std::fputs(simulator::kHelp, stderr);
    return 2;
  }
  return arguments.mutants ? simulator::RunMutants() : simulator::RunSeeds(arguments);
}
