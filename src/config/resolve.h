// Settings from all sources become one checked configuration.
#ifndef CONFIG_RESOLVE_H_
#define CONFIG_RESOLVE_H_

#include <string>
#include <vector>

#include "config/config.h"
#include "config/sources.h"

namespace config {

// `assignments` in the order of increasing precedence: file, environment, --set, flags. Reports
// everything that is wrong; the result is meaningful if nothing was.
Config Resolve(const std::vector<Assignment>& assignments, Errors& errors,
               std::vector<std::string>& warnings);

// What no single key can say: which listeners need certificates, who may connect at all.
// Also settles who may be anonymous where nothing was said. Called by Resolve.
void CheckWhole(Config& config, Errors& errors, std::vector<std::string>& warnings);

// Whether there is something that says which users there are.
bool NamesUsers(const auth::AuthOptions& auth);

// Where the value of a path comes from; the default if nothing is known.
Origin OriginOf(const Config& config, absl::string_view path);

}  // namespace config

#endif  // CONFIG_RESOLVE_H_
