// mqttctl: publish, subscribe and measure with any MQTT broker, on the client library; see and
// steer mqttd by its admin API.
#include <CLI/Error.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "arguments.h"
#include "base/version.h"
#include "bench.h"
#include "health.h"
#include "pub.h"
#include "standard_output.h"
#include "sub.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

// The text of --help for `command`, or of a mistake, and the exit status.
int Explain(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  std::fprintf(stderr, "Error: %s\n\nUse 'mqttctl%s --help' to see usage.\n", error.what(),
               app.get_subcommands().empty()
                   ? ""
                   : (" " + app.get_subcommands().front()->get_name()).c_str());
  return kExitFailure;
}

void AddVerbs(CLI::App& app, VerbContext& verbs) {
  AddAclVerbs(app, verbs);
  AddClientVerbs(app, verbs);
  AddClusterVerbs(app, verbs);
  AddBackupVerbs(app, verbs);
  AddBanVerbs(app, verbs);
  AddConfigVerbs(app, verbs);
  AddContextVerbs(app, verbs);
  AddExplainVerbs(app, verbs);
  AddListenerVerbs(app, verbs);
  AddLogVerbs(app, verbs);
  AddMetrics(app, verbs);
  AddRetainedVerbs(app, verbs);
  AddSessionVerbs(app, verbs);
  AddTop(app, verbs);
  AddTopicVerbs(app, verbs);
  AddUserVerbs(app, verbs);
  AddWatchVerbs(app, verbs);
  AddPasswd(app, verbs);
  AddVersion(app, verbs);
  AddCompletion(app, verbs);
}

int Run(std::vector<std::string> arguments) {
  CLI::App app("Publishes, subscribes and measures, with any MQTT broker; sees and steers mqttd.",
               "mqttctl");
  app.set_help_flag("--help", "This text");
  app.set_version_flag("--version", std::string("mqttctl ") + base::kVersion);
  app.require_subcommand(1);
  PubArguments pub_arguments;
  SubArguments sub_arguments;
  BenchArguments bench_arguments;
  HttpBenchArguments http_arguments;
  HealthArguments health_arguments;
  DrainArguments drain_arguments;
  CLI::App* pub = app.add_subcommand("pub", "Publish messages; takes mosquitto_pub's options");
  CLI::App* sub = app.add_subcommand("sub", "Print messages; takes mosquitto_sub's options");
  CLI::App* bench = app.add_subcommand("bench", "Measure a broker: connections, rates, latency");
  AddPubOptions(*pub, pub_arguments);
  AddSubOptions(*sub, sub_arguments);
  AddBenchOptions(*bench, bench_arguments);
  CLI::App* http = bench->add_subcommand("http", "Measure an HTTP endpoint");
  AddHttpBenchOptions(*http, http_arguments);
  CLI::App* health = app.add_subcommand("health", "Ask whether an mqttd lives, or takes clients");
  AddHealthOptions(*health, health_arguments);
  CLI::App* drain =
      app.add_subcommand("drain", "Have an mqttd of this machine send its clients away");
  AddDrainOptions(*drain, drain_arguments);

  VerbContext verbs;
  verbs.AddOptions(app);
  AddVerbs(app, verbs);

  const std::pair<CLI::App*, ConnectionArguments*> with_properties[] = {
      {pub, &pub_arguments.connection},
      {sub, &sub_arguments.connection},
      {bench, &bench_arguments.connection}};
  for (const auto& [command, connection] : with_properties) {
    if (arguments.empty() || arguments.front() != command->get_name()) continue;
    auto properties = TakeProperties(*command, arguments);
    if (!properties.ok()) {
      std::fprintf(stderr, "Error: %s\n", std::string(properties.status().message()).c_str());
      return kExitFailure;
    }
    connection->properties = *std::move(properties);
  }
  try {
    std::reverse(arguments.begin(), arguments.end());  // As CLI11 wants them.
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    return Explain(app, error);
  }
  if (verbs.chosen()) return verbs.RunChosen();
  if (pub->parsed()) return Pub(pub_arguments);
  if (sub->parsed()) return Sub(sub_arguments);
  if (health->parsed()) return Health(health_arguments);
  if (drain->parsed()) return Drain(drain_arguments);
  if (http->parsed()) return HttpBench(http_arguments);
  return Bench(bench_arguments);
}

}  // namespace
}  // namespace mqttctl

int main(int argc, char** argv) {
  const int status = mqttctl::Run(std::vector<std::string>(argv + 1, argv + argc));
  const bool printed = mqttctl::AllIsPrinted();
  return printed || status != mqttctl::kExitOk ? status : mqttctl::kExitFailure;
}
