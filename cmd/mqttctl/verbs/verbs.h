// The verbs of the admin API: each file of this folder adds one noun with its verbs.
#ifndef CMD_MQTTCTL_VERBS_VERBS_H_
#define CMD_MQTTCTL_VERBS_VERBS_H_

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "admin/output.h"
#include "admin/session.h"

namespace mqttctl {

// What verbs share: the options before and after them, and what is to be done once all is parsed.
class VerbContext {
 public:
  EndpointArguments endpoint;
  std::string output = "table";
  bool yes = false;

  // Options of all verbs, for the command itself: they may stand before or after the verb.
  void AddOptions(CLI::App& app);

  // `mqttctl NOUN`.
  CLI::App& AddNoun(CLI::App& app, const std::string& name, const std::string& help);
  // `mqttctl NOUN VERB`. `run` is called when it was chosen; its error is printed, and decides the
  // exit status. `help` ends with an example.
  using Run = std::function<absl::Status(AdminSession&)>;
  CLI::App& AddVerb(CLI::App& noun, const std::string& name, const std::string& help, Run run);

  // One that asks no broker.
  CLI::App& AddLocalVerb(CLI::App& noun, const std::string& name, const std::string& help,
                         std::function<absl::Status()> run);

  const OutputForm& form() const { return form_; }
  // Of the options that say which broker, those that were given: by name without hyphens before it.
  std::map<std::string, std::string> given_options() const;
  // Says what will be lost and asks, unless --yes was given. Errors: the answer is no, or there is
  // nobody to ask.
  absl::Status Confirm(const std::string& words) const;
  // To standard output. False: it cannot be written; then RunChosen ends, and main says why.
  bool Print(const std::string& text) const;

  // Takes from the context what no option says; for verbs that ask a broker it is done. Errors:
  // kNotFound, there is no such context; kInvalidArgument, their file is damaged.
  absl::Status UseContext();

  // Whether one of these verbs was chosen; then its exit status.
  bool chosen() const { return run_ != nullptr || run_local_ != nullptr; }
  int RunChosen();

 private:
  struct EndpointOption {
    std::string name;
    const CLI::Option* option;
    std::string* value;
  };

  OutputForm form_;
  Run run_;
  std::function<absl::Status()> run_local_;
  std::vector<EndpointOption> endpoint_options_;
  std::string context_;
  double watch_s_ = 0;  // 0: once. Else until an error that will not pass.
};

void AddAclVerbs(CLI::App& app, VerbContext& context);
void AddClientVerbs(CLI::App& app, VerbContext& context);
void AddClusterVerbs(CLI::App& app, VerbContext& context);
void AddBackupVerbs(CLI::App& app, VerbContext& context);
void AddBanVerbs(CLI::App& app, VerbContext& context);
void AddCompletion(CLI::App& app, VerbContext& context);
void AddConfigVerbs(CLI::App& app, VerbContext& context);
void AddContextVerbs(CLI::App& app, VerbContext& context);
void AddExplainVerbs(CLI::App& app, VerbContext& context);
void AddListenerVerbs(CLI::App& app, VerbContext& context);
void AddLogVerbs(CLI::App& app, VerbContext& context);
void AddMetrics(CLI::App& app, VerbContext& context);
void AddPasswd(CLI::App& app, VerbContext& context);
void AddRetainedVerbs(CLI::App& app, VerbContext& context);
void AddSessionVerbs(CLI::App& app, VerbContext& context);
void AddTop(CLI::App& app, VerbContext& context);
void AddTopicVerbs(CLI::App& app, VerbContext& context);
void AddUserVerbs(CLI::App& app, VerbContext& context);
void AddVersion(CLI::App& app, VerbContext& context);
void AddWatchVerbs(CLI::App& app, VerbContext& context);

// Of a verb that changes something: `words` for people, or its answer; and a warning.
void PrintDone(const VerbContext& context, const std::string& words,
               const google::protobuf::Message& response, const std::string& warning = {});
// Likewise, of one that has no answer of a broker's.
void PrintDone(const VerbContext& context, const std::string& words, const Json& done);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_VERBS_VERBS_H_
