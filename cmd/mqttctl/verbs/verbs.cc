#include "verbs/verbs.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "arguments.h"

namespace mqttctl {

void VerbContext::AddOptions(CLI::App& app) {
  const auto add = [&app](const std::string& name, std::string& value, const std::string& help,
                          const std::string& variable) {
    app.add_option(name, value, help)->envname(variable)->group("The broker's admin API");
  };
  add("--endpoint", endpoint.endpoint, "ADDRESS:PORT of the broker's admin API (127.0.0.1:9884)",
      "MQTTCTL_ENDPOINT");
  add("--token", endpoint.token, "Who you are; better in a file, where others do not see it",
      "MQTTCTL_TOKEN");
  add("--token-file", endpoint.token_file, "A file with the token", "MQTTCTL_TOKEN_FILE");
  add("--ca-file", endpoint.ca_file, "Who signs the broker's certificate (PEM): with TLS",
      "MQTTCTL_CA_FILE");
  add("--cert-file", endpoint.cert_file, "Your certificate (PEM)", "MQTTCTL_CERT_FILE");
  add("--key-file", endpoint.key_file, "Its private key (PEM)", "MQTTCTL_KEY_FILE");
  add("--server-name", endpoint.server_name,
      "The name in the broker's certificate, if it is not the endpoint's", "MQTTCTL_SERVER_NAME");
  app.add_option("--timeout", endpoint.timeout_s, "Seconds until an answer (30)")
      ->check(CLI::Range(1, 86'400))
      ->group("The broker's admin API");
  app.add_option("-o,--output", output, "table, json or yaml")->group("The broker's admin API");
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

void VerbContext::Print(const std::string& text) const {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int VerbContext::RunChosen() {
  if (!ParseOutputForm(output, form_)) {
    std::fprintf(stderr, "Error: --output is table, json or yaml, not \"%s\"\n", output.c_str());
    return kExitFailure;
  }
  auto session = AdminSession::Open(endpoint);
  if (!session.ok()) return PrintAdminError(endpoint, session.status());
  const absl::Status status = run_(**session);
  return status.ok() ? kExitOk : PrintAdminError(endpoint, status);
}

}  // namespace mqttctl
