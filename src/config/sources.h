// Where settings come from, read into one form: a path, a text and a place. What they mean is
// decided later, in resolve.h.
#ifndef CONFIG_SOURCES_H_
#define CONFIG_SOURCES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "config/config.h"

namespace config {

struct Assignment {
  // Dotted, in canonical names: "mqtt.receive_maximum", "listeners.0.url". "listeners" alone: a
  // list of URLs, separated by commas or blanks. "listeners.0" alone: that entry exists.
  std::string path;
  std::string text;
  Origin origin;
};

// What is wrong, with where; all of it, up to a bound.
class Errors {
 public:
  void Add(absl::string_view where, absl::string_view what);
  bool empty() const { return lines_.empty(); }
  absl::Status ToStatus() const;  // kInvalidArgument, a line each.

 private:
  static constexpr size_t kLinesMax = 25;
  std::vector<std::string> lines_;
  size_t more_ = 0;
};

// What a path stands for in the schema.
enum class PathKind : uint8_t { kKey, kSection, kListeners, kListener, kUnknown };
PathKind Classify(absl::string_view path);

// "no such key; did you mean mqtt.receive_maximum?"
std::string Unknown(absl::string_view path);

// The file's text. Syntax errors, duplicate keys, unknown keys and wrong shapes are errors here.
std::vector<Assignment> ReadYaml(absl::string_view text, absl::string_view file_name,
                                 Errors& errors);

// Variables MQTTD_… that name a key. Others that begin so (Kubernetes sets such for a Service
// called mqttd) are no errors; a likely misspelling is a warning. So are two names of one key with
// the same value; with different ones they are an error, for nothing says which of them holds.
std::vector<Assignment> ReadEnvironment(absl::Span<const std::string> environment, Errors& errors,
                                        std::vector<std::string>& warnings);

struct CommandLine {
  Action action = Action::kRun;
  std::string file;                     // --config.
  std::string backup;                   // --restore.
  std::vector<Assignment> assignments;  // kSet first, then kFlag.
};
CommandLine ReadFlags(absl::Span<const std::string> args, Errors& errors);

}  // namespace config

#endif  // CONFIG_SOURCES_H_
