#include "health.h"

#include <signal.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "http_get.h"

namespace mqttctl {
namespace {

void PrintError(const absl::Status& status) {
  std::fprintf(stderr, "Error: %s\n", std::string(status.message()).c_str());
}

void AddUrl(CLI::App& command, std::string& url) {
  command.add_option("--url", url, absl::StrCat("The broker's http.listen (", kHttpEndpoint, ")"))
      ->envname("MQTTCTL_HTTP_URL");
}

absl::StatusOr<HttpTarget> TargetOf(const std::string& url, const char* path) {
  absl::StatusOr<HttpTarget> target = ParseHttpTarget(url);
  if (target.ok()) target->path = path;
  return target;
}

// A mistyped number must not reach another process, which the signal would end.
absl::Status CheckIsBroker(int pid) {
  std::string name;
  std::getline(std::ifstream(absl::StrCat("/proc/", pid, "/comm")), name);
  if (name == "mqttd") return absl::OkStatus();
  return absl::NotFoundError(name.empty()
                                 ? absl::StrCat("there is no process ", pid)
                                 : absl::StrCat("process ", pid, " is ", name, ", not mqttd"));
}

}  // namespace

void AddHealthOptions(CLI::App& command, HealthArguments& arguments) {
  AddUrl(command, arguments.url);
  command.add_flag("--ready", arguments.ready,
                   "Whether clients may come (/readyz), not whether it lives (/healthz)");
  command.add_flag("--replicas", arguments.replicas,
                   "The same, and no replicas were lost here: another node of the cluster may be "
                   "stopped (/readyz/replicas)");
  command.add_option("--timeout", arguments.timeout_s, "Seconds to wait for an answer (5)")
      ->check(CLI::PositiveNumber);
  command.add_flag("--quiet", arguments.quiet, "Only the exit status");
}

int Health(const HealthArguments& arguments) {
  const absl::StatusOr<HttpTarget> target =
      TargetOf(arguments.url, arguments.replicas ? "/readyz/replicas"
                              : arguments.ready  ? "/readyz"
                                                 : "/healthz");
  const absl::StatusOr<HttpAnswer> answer =
      target.ok() ? HttpGet(*target, absl::Seconds(arguments.timeout_s)) : target.status();
  if (!answer.ok()) {
    if (!arguments.quiet) PrintError(answer.status());
    return kExitFailure;
  }
  if (!arguments.quiet) std::fputs(answer->body.c_str(), stdout);
  return answer->status == 200 ? kExitOk : kExitFailure;
}

void AddDrainOptions(CLI::App& command, DrainArguments& arguments) {
  command.add_option("--pid", arguments.pid, "The broker's process; in a container: 1")
      ->required()
      ->check(CLI::PositiveNumber);
  AddUrl(command, arguments.url);
  command.add_option("--timeout", arguments.timeout_s, "Seconds to wait until it is drained (60)")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--quiet", arguments.quiet, "No progress");
}

int Drain(const DrainArguments& arguments) {
  const absl::StatusOr<HttpTarget> target = TargetOf(arguments.url, "/readyz");
  absl::Status status = target.status();
  if (status.ok()) status = CheckIsBroker(arguments.pid);
  if (status.ok() && kill(arguments.pid, SIGUSR1) != 0)
    status = absl::ErrnoToStatus(errno, "signalling mqttd");
  if (!status.ok()) {
    PrintError(status);
    return kExitFailure;
  }
  constexpr auto kInterval = std::chrono::milliseconds(100);
  const absl::Time deadline = absl::Now() + absl::Seconds(arguments.timeout_s);
  std::string told;
  while (absl::Now() < deadline) {
    const absl::StatusOr<HttpAnswer> answer = HttpGet(*target, absl::Seconds(5));
    // It has been told to stop meanwhile, and is gone.
    if (!answer.ok() && !CheckIsBroker(arguments.pid).ok()) return kExitOk;
    const std::string body =
        answer.ok() ? std::string(absl::StripSuffix(answer->body, "\n")) : std::string();
    if (body != told && !body.empty() && !arguments.quiet) std::printf("%s\n", body.c_str());
    std::fflush(stdout);
    if (body == "drained" || absl::StartsWith(body, "stopping")) return kExitOk;
    told = body;
    std::this_thread::sleep_for(kInterval);
  }
  PrintError(absl::DeadlineExceededError("it is not drained yet"));
  return kExitTimedOut;
}

}  // namespace mqttctl
