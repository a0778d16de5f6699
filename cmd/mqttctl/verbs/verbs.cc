#include "verbs/verbs.h"

#include <unistd.h>

#include <CLI/Option.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "admin/contexts.h"
#include "arguments.h"
#include "base/status_macros.h"
#include "standard_output.h"
#include "terminal.h"

namespace mqttctl {
namespace {

constexpr char kGroup[] = "The broker's admin API";

// Whether it may be otherwise the next time. `once_well`: it was well before.
bool MayPass(const absl::Status& status, bool once_well) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kResourceExhausted:
      return true;
    case absl::StatusCode::kNotFound:  // A client that comes and goes, or a slip of the pen.
      return once_well;
    default:
      return false;
  }
}

}  // namespace

void VerbContext::AddOptions(CLI::App& app) {
  const auto add = [&](const std::string& name, std::string& value, const std::string& help,
                       const std::string& variable) {
    CLI::Option* const option = app.add_option("--" + name, value, help)->envname(variable);
    option->group(kGroup);
    endpoint_options_.push_back({name, option, &value});
  };
  add("endpoint", endpoint.endpoint, "ADDRESS:PORT of the broker's admin API (127.0.0.1:9884)",
      "MQTTCTL_ENDPOINT");
  add("token", endpoint.token, "Who you are; better in a file, where others do not see it",
      "MQTTCTL_TOKEN");
  add("token-file", endpoint.token_file, "A file with the token", "MQTTCTL_TOKEN_FILE");
  add("ca-file", endpoint.ca_file, "Who signs the broker's certificate (PEM): with TLS",
      "MQTTCTL_CA_FILE");
  add("cert-file", endpoint.cert_file, "Your certificate (PEM)", "MQTTCTL_CERT_FILE");
  add("key-file", endpoint.key_file, "Its private key (PEM)", "MQTTCTL_KEY_FILE");
  add("server-name", endpoint.server_name,
      "The name in the broker's certificate, if it is not the endpoint's", "MQTTCTL_SERVER_NAME");
  app.add_option("--context", context_, "The broker by its name: see mqttctl context")
      ->envname("MQTTCTL_CONTEXT")
      ->group(kGroup);
  app.add_option("--timeout", endpoint.timeout_s, "Seconds until an answer (30)")
      ->check(CLI::Range(1, 86'400))
      ->group(kGroup);
  app.add_flag("--yes", yes, "Do not ask whether it is meant")->group(kGroup);
  app.add_option("--watch", watch_s_, "Do it again every so many seconds")
      ->check(CLI::Range(0.1, 86'400.0))
      ->group(kGroup);
  app.add_option("-o,--output", output, "table, wide, json, yaml or jsonpath=TEMPLATE")
      ->group(kGroup);
}

CLI::App& VerbContext::AddNoun(CLI::App& app, const std::string& name, const std::string& help) {
  CLI::App& noun = *app.add_subcommand(name, help);
  noun.require_subcommand(1);
  noun.fallthrough();
  return noun;
}

CLI::App& VerbContext::AddVerb(CLI::App& noun, const std::string& name, const std::string& help,
                               Run run) {
  CLI::App& verb = *noun.add_subcommand(name, help);
  verb.fallthrough();
  verb.callback([this, run = std::move(run)] { run_ = run; });
  return verb;
}

CLI::App& VerbContext::AddLocalVerb(CLI::App& noun, const std::string& name,
                                    const std::string& help, std::function<absl::Status()> run) {
  CLI::App& verb = *noun.add_subcommand(name, help);
  verb.fallthrough();
  verb.callback([this, run = std::move(run)] { run_local_ = run; });
  return verb;
}

std::map<std::string, std::string> VerbContext::given_options() const {
  std::map<std::string, std::string> given;
  for (const EndpointOption& each : endpoint_options_) {
    if (each.option->count() > 0) given[each.name] = *each.value;
  }
  return given;
}

// What stands on the command line or in the environment goes before what the context says.
absl::Status VerbContext::UseContext() {
  ASSIGN_OR_RETURN(const Contexts contexts, Contexts::Load());
  const std::string& name = context_.empty() ? contexts.current : context_;
  if (name.empty()) return absl::OkStatus();
  const auto found = contexts.by_name.find(name);
  if (found == contexts.by_name.end()) {
    return absl::NotFoundError(absl::StrCat("there is no context \"", name, "\" in ",
                                            contexts.file(), "; mqttctl context list"));
  }
  for (const EndpointOption& each : endpoint_options_) {
    const auto value = found->second.find(each.name);
    if (value != found->second.end() && each.option->count() == 0) *each.value = value->second;
  }
  return absl::OkStatus();
}

absl::Status VerbContext::Confirm(const std::string& words) const {
  if (yes) return absl::OkStatus();
  if (isatty(STDIN_FILENO) == 0)
    return absl::FailedPreconditionError(words + " If that is meant: --yes");
  std::fprintf(stderr, "%s Go on? [y/N] ", words.c_str());
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "yes") return absl::OkStatus();
  return absl::FailedPreconditionError("nothing was done");
}

bool VerbContext::Print(const std::string& text) const {
  return PrintOut(PrintsToTerminal() ? Harmless(text) : text);
}

int VerbContext::RunChosen() {
  auto form = ParseOutputForm(output);
  if (!form.ok()) return PrintAdminError(endpoint, form.status());
  form_ = *std::move(form);
  if (run_local_ != nullptr) {
    const absl::Status status = run_local_();
    return status.ok() ? kExitOk : PrintAdminError(endpoint, status);
  }
  if (const absl::Status status = UseContext(); !status.ok())
    return PrintAdminError(endpoint, status);
  auto session = AdminSession::Open(endpoint);
  if (!session.ok()) return PrintAdminError(endpoint, session.status());
  bool once_well = false;
  for (;;) {
    if (watch_s_ != 0 && PrintsToTerminal()) PrintOut("\033[H\033[2J");
    const absl::Status status = run_(**session);
    const int exit_status = status.ok() ? kExitOk : PrintAdminError(endpoint, status);
    once_well = once_well || status.ok();
    const bool again = watch_s_ != 0 && (status.ok() || MayPass(status, once_well));
    if (!again || std::ferror(stdout) != 0) return exit_status;  // Main looks at the output.
    (*session)->Again();
    std::this_thread::sleep_for(std::chrono::duration<double>(watch_s_));
  }
}

void PrintDone(const VerbContext& context, const std::string& words, const Json& done) {
  context.Print(context.form().table() ? words : Render(done, context.form()));
}

void PrintDone(const VerbContext& context, const std::string& words,
               const google::protobuf::Message& response, const std::string& warning) {
  PrintDone(context, words, ToJson(response));
  if (!warning.empty()) std::fprintf(stderr, "Warning: %s\n", OneLine(warning).c_str());
}

}  // namespace mqttctl
