// The verbs of the admin API: each file of this folder adds one noun with its verbs.
#ifndef CMD_MQTTCTL_VERBS_VERBS_H_
#define CMD_MQTTCTL_VERBS_VERBS_H_

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <functional>
#include <memory>
#include <string>

#include "admin/output.h"
#include "admin/session.h"

namespace mqttctl {

// What verbs share: the options before and after them, and what is to be done once all is parsed.
class VerbContext {
 public:
  EndpointArguments endpoint;
  std::string output = "table";

  // Options of all verbs, for the command itself: they may stand before or after the verb.
  void AddOptions(CLI::App& app);

  // `mqttctl NOUN`.
  CLI::App& AddNoun(CLI::App& app, const std::string& name, const std::string& help);
  // `mqttctl NOUN VERB`. `run` is called when it was chosen; its error is printed, and decides the
  // exit status. `help` ends with an example.
  using Run = std::function<absl::Status(AdminSession&)>;
  CLI::App& AddVerb(CLI::App& noun, const std::string& name, const std::string& help, Run run);

  OutputForm form() const { return form_; }
  // To standard output.
  void Print(const std::string& text) const;

  // Whether a verb of the admin API was chosen; then its exit status.
  bool chosen() const { return run_ != nullptr; }
  int RunChosen();

 private:
  OutputForm form_ = OutputForm::kTable;
  Run run_;
};

void AddClientVerbs(CLI::App& app, VerbContext& context);
void AddClusterVerbs(CLI::App& app, VerbContext& context);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_VERBS_VERBS_H_
