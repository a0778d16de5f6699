#include "bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "bench_load.h"
#include "picture.h"

namespace mqttctl {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

double SecondsSince(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

// Waits in steps, with a picture for each, until `done` or until nothing has changed for long.
class Phase {
 public:
  Phase(Picture& picture, const BenchLoad& load, double patience_s)
      : picture_(picture), load_(load), patience_s_(patience_s) {}

  // `progress` grows while things go on. False: it stood still for so long.
  bool Wait(const std::function<bool()>& done, const std::function<uint64_t()>& progress,
            const std::function<std::vector<std::string>()>& lines) {
    const double step = picture_.is_terminal() ? 0.2 : 1.0;
    uint64_t last = progress();
    auto moved = Clock::now();
    auto shown = Clock::now();
    while (!done()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (const uint64_t now = progress(); now != last) {
        last = now;
        moved = Clock::now();
      }
      if (SecondsSince(moved) > patience_s_) return false;
      if (SecondsSince(shown) < step) continue;
      shown = Clock::now();
      picture_.Show(lines());
    }
    return true;
  }

  // A number of operations that are to happen.
  bool WaitForAll(const char* name, const std::atomic<uint64_t>& count, uint64_t all,
                  const Histogram& times) {
    const auto& failed = load_.figures().failed;
    const uint64_t failed_before = failed;
    const auto ended = [&] { return count + failed - failed_before; };
    return Wait(
        [&] { return ended() >= all; }, ended,
        [&] {
          const double share = all == 0 ? 1 : static_cast<double>(count) / static_cast<double>(all);
          return std::vector<std::string>{
              absl::StrFormat("%-12s%s  %s of %s", name, Picture::Bar(share),
                              Grouped(static_cast<double>(count)),
                              Grouped(static_cast<double>(all))),
              absl::StrFormat("%-12sp50 %s  p99 %s", "", Milliseconds(times.QuantileMs(0.5)),
                              Milliseconds(times.QuantileMs(0.99)))};
        });
  }

 private:
  Picture& picture_;
  const BenchLoad& load_;
  const double patience_s_;
};

// Rates since the last picture.
class Rates {
 public:
  double Of(uint64_t count, double now_s) {
    const double rate =
        now_s > last_s_ ? static_cast<double>(count - last_) / (now_s - last_s_) : 0;
    last_ = count;
    last_s_ = now_s;
    return rate;
  }

 private:
  uint64_t last_ = 0;
  double last_s_ = 0;
};

struct Outcome {
  double connect_s = 0;
  double subscribe_s = 0;
  double publish_s = 0;
  uint64_t missing = 0;
  uint64_t unanswered = 0;  // Of the last phase: neither done nor failed.
};

uint64_t Unanswered(uint64_t begun, uint64_t done, uint64_t failed) {
  return begun > done + failed ? begun - done - failed : 0;
}

std::vector<std::string> PublishingLines(const BenchArguments& arguments,
                                         const BenchFigures& figures, double elapsed, Rates& sent,
                                         Rates& got) {
  const uint64_t published = figures.published;
  const uint64_t received = figures.received;
  const double open =
      std::max(0.0, static_cast<double>(published) - static_cast<double>(figures.acknowledged));
  return {absl::StrFormat("%-12s%s  %.1f of %.1f s", "publishing",
                          Picture::Bar(elapsed / arguments.seconds), elapsed, arguments.seconds),
          absl::StrFormat("%-12s%s/s  %s in all, %s open", "published",
                          Grouped(sent.Of(published, elapsed)),
                          Grouped(static_cast<double>(published)), Grouped(open)),
          absl::StrFormat("%-12s%s/s  %s in all", "received", Grouped(got.Of(received, elapsed)),
                          Grouped(static_cast<double>(received))),
          absl::StrFormat("%-12sp50 %s  p99 %s  max %s", "delivery",
                          Milliseconds(figures.delivery.QuantileMs(0.5)),
                          Milliseconds(figures.delivery.QuantileMs(0.99)),
                          Milliseconds(figures.delivery.max_ms()))};
}

Outcome RunPhases(const BenchArguments& arguments, BenchLoad& load, Picture& picture) {
  const BenchFigures& figures = load.figures();
  Phase phase(picture, load, arguments.patience_s);
  Outcome outcome;
  auto begun = Clock::now();
  load.Connect();
  bool all = phase.WaitForAll("connecting", figures.connected, load.clients(), figures.connect);
  outcome.connect_s = SecondsSince(begun);
  outcome.unanswered = Unanswered(load.clients(), figures.connected, figures.failed);
  if (!all || figures.failed > 0) return outcome;
  begun = Clock::now();
  load.Subscribe();
  all =
      phase.WaitForAll("subscribing", figures.subscribed, arguments.subscribers, figures.subscribe);
  outcome.subscribe_s = SecondsSince(begun);
  outcome.unanswered = Unanswered(arguments.subscribers, figures.subscribed, figures.failed);
  if (!all || figures.failed > 0 || arguments.publishers == 0) return outcome;
  begun = Clock::now();
  load.Publish();
  Rates sent;
  Rates got;
  const auto lines = [&] {
    return PublishingLines(arguments, figures, SecondsSince(begun), sent, got);
  };
  phase.Wait([&] { return SecondsSince(begun) >= arguments.seconds; },
             [&] { return static_cast<uint64_t>(SecondsSince(begun) * 1e6); }, lines);
  load.StopPublishing();
  outcome.publish_s = SecondsSince(begun);
  phase.Wait(
      [&] {
        return figures.acknowledged + figures.failed >= figures.published &&
               figures.received >= figures.expected;
      },
      [&] { return figures.acknowledged + figures.received; }, lines);
  const uint64_t expected = figures.expected;
  const uint64_t received = figures.received;
  outcome.missing = expected > received ? expected - received : 0;
  outcome.unanswered = Unanswered(figures.published, figures.acknowledged, figures.failed);
  return outcome;
}

constexpr struct {
  const char* name;
  double share;
} kQuantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

Json ToJson(const Histogram& histogram) {
  Json json = {{"count", histogram.count()}};
  for (const auto& [name, share] : kQuantiles) {
    json[absl::StrCat(name, "_ms")] = histogram.QuantileMs(share);
  }
  json["max_ms"] = histogram.max_ms();
  return json;
}

void PrintJson(const BenchArguments& arguments, const BenchLoad& load, const Outcome& outcome) {
  const BenchFigures& figures = load.figures();
  const auto per_second = [](uint64_t count, double seconds) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
  };
  const Json json = {{"publishers", arguments.publishers},
                     {"subscribers", arguments.subscribers},
                     {"idle_connections", arguments.connections},
                     {"qos", arguments.connection.qos},
                     {"payload_bytes", arguments.payload_bytes},
                     {"rate_wanted_per_s", arguments.rate},
                     {"connected", figures.connected.load()},
                     {"connects_per_s", per_second(figures.connected, outcome.connect_s)},
                     {"subscribed", figures.subscribed.load()},
                     {"published", figures.published.load()},
                     {"published_per_s", per_second(figures.published, outcome.publish_s)},
                     {"acknowledged", figures.acknowledged.load()},
                     {"received", figures.received.load()},
                     {"received_per_s", per_second(figures.received, outcome.publish_s)},
                     {"missing", outcome.missing},
                     {"repeated", figures.repeated.load()},
                     {"foreign", figures.foreign.load()},
                     {"unanswered", outcome.unanswered},
                     {"failed", figures.failed.load()},
                     {"first_failure", load.first_failure()},
                     {"seconds", outcome.publish_s},
                     {"connect", ToJson(figures.connect)},
                     {"subscribe", ToJson(figures.subscribe)},
                     {"publish", ToJson(figures.publish)},
                     {"delivery", ToJson(figures.delivery)}};
  std::printf("%s\n", json.dump(2).c_str());
}

void PrintRow(const char* name, const Histogram& histogram) {
  if (histogram.count() == 0) return;
  std::printf("  %-12s", name);
  for (const auto& [quantile, share] : kQuantiles) {
    std::printf("%12s", Milliseconds(histogram.QuantileMs(share)).c_str());
  }
  std::printf("%12s\n", Milliseconds(histogram.max_ms()).c_str());
}

void PrintText(const BenchArguments& arguments, const BenchLoad& load, const Outcome& outcome) {
  const BenchFigures& figures = load.figures();
  const auto line = [](const char* what, uint64_t count, double seconds) {
    std::printf("%-12s %12s   %s/s\n", what, Grouped(static_cast<double>(count)).c_str(),
                Grouped(static_cast<double>(count) / std::max(seconds, 1e-9)).c_str());
  };
  line("connected", figures.connected, outcome.connect_s);
  if (arguments.subscribers > 0) line("subscribed", figures.subscribed, outcome.subscribe_s);
  if (outcome.publish_s > 0) {
    line("published", figures.published, outcome.publish_s);
    line("received", figures.received, outcome.publish_s);
    std::printf("%-12s %12s\n", "missing", Grouped(static_cast<double>(outcome.missing)).c_str());
  }
  const auto if_any = [](const char* what, uint64_t count) {
    if (count > 0) std::printf("%-12s %12s\n", what, Grouped(static_cast<double>(count)).c_str());
  };
  if_any("repeated", figures.repeated);
  if_any("foreign", figures.foreign);
  if_any("unanswered", outcome.unanswered);
  std::printf("\n  %-12s", "times");
  for (const auto& [name, share] : kQuantiles) std::printf("%12s", name);
  std::printf("%12s\n", "max");
  PrintRow("connect", figures.connect);
  PrintRow("subscribe", figures.subscribe);
  PrintRow("publish", figures.publish);
  PrintRow("delivery", figures.delivery);
  if (figures.failed > 0) {
    std::printf("\n%s failed; the first: %s\n",
                Grouped(static_cast<double>(figures.failed)).c_str(), load.first_failure().c_str());
  }
}

}  // namespace

void AddBenchOptions(CLI::App& command, BenchArguments& arguments) {
  const auto what = "What is measured";
  command.add_option("--publishers", arguments.publishers, "Clients that publish (10)")
      ->group(what);
  command.add_option("--subscribers", arguments.subscribers, "Clients that subscribe (10)")
      ->group(what);
  command.add_option("--connections", arguments.connections, "Clients that only connect (0)")
      ->group(what);
  command
      .add_option("--topics", arguments.topics,
                  "Topics over which both are spread (as many as publishers)")
      ->group(what);
  command.add_option("-t,--topic", arguments.topic, "What the topics begin with (bench)")
      ->group(what);
  command.add_option("-s,--size", arguments.payload_bytes, "Bytes of a payload (64), at least 24")
      ->group(what);
  command.add_option("-q,--qos", arguments.connection.qos, "QoS of messages: 0, 1 or 2 (0)")
      ->check(CLI::Range(0, 2))
      ->group(what);
  command
      .add_option("--subscribe-qos", arguments.subscribe_qos, "QoS of subscriptions (that of -q)")
      ->check(CLI::Range(0, 2))
      ->group(what);
  command
      .add_option("--rate", arguments.rate,
                  "Messages per second, of all publishers (1000); 0: as fast as they go")
      ->check(CLI::NonNegativeNumber)
      ->group(what);
  command
      .add_option("--window", arguments.window,
                  "Messages that a publisher has unacknowledged at most (16)")
      ->check(CLI::Range(1, 65'535))
      ->group(what);
  command.add_option("--seconds", arguments.seconds, "How long messages are published (10)")
      ->check(CLI::PositiveNumber)
      ->group(what);
  command
      .add_option(
          "--patience", arguments.patience_s,
          "Seconds without an answer, of whatever kind, after which none is waited for (10)")
      ->check(CLI::PositiveNumber)
      ->group(what);
  command.add_option("--threads", arguments.threads, "Threads of the clients (1)")
      ->check(CLI::Range(1, 256))
      ->group(what);
  command.add_flag("--json", arguments.json, "The result as JSON");
  AddConnectionOptions(command, arguments.connection);
}

int Bench(const BenchArguments& given) {
  BenchArguments arguments = given;
  arguments.connection.inflight_messages_max = static_cast<uint16_t>(arguments.window);
  absl::StatusOr<Prepared> prepared = Prepare(arguments.connection);
  if (!prepared.ok()) {
    std::fprintf(stderr, "Error: %s\n\nUse 'mqttctl bench --help' to see usage.\n",
                 std::string(prepared.status().message()).c_str());
    return kExitFailure;
  }
  Outcome outcome;
  BenchLoad load(arguments, prepared->options);
  {
    Picture picture(arguments.connection.quiet);
    outcome = RunPhases(arguments, load, picture);
  }
  if (arguments.json) {
    PrintJson(arguments, load, outcome);
  } else {
    PrintText(arguments, load, outcome);
  }
  const BenchFigures& figures = load.figures();
  const bool well = figures.failed == 0 && outcome.unanswered == 0 &&
                    (arguments.connection.qos == 0 || outcome.missing == 0);
  load.Close();
  return well ? kExitOk : kExitFailure;
}

}  // namespace mqttctl
