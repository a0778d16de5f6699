// The configuration in force, key by key.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/config.h"
#include "config/resolve.h"
#include "config/schema.h"

namespace config {
namespace {

template <typename Root>
Entry EntryOf(const Config& config, const Key<Root>& key, const Root& root, const Root& standard,
              std::string path) {
  Entry entry;
  entry.value = FormatValue(key.domain, key.get(root));
  entry.standard = FormatValue(key.domain, key.get(standard));
  entry.origin = OriginOf(config, path);
  entry.effect = key.effect;
  entry.path = std::move(path);
  return entry;
}

}  // namespace

std::vector<Entry> Entries(const Config& config) {
  static const Config kDefaults;
  static const broker::ListenerSettings kListener;
  std::vector<Entry> entries;
  for (const Key<Config>& key : ConfigKeys())
    entries.push_back(EntryOf(config, key, config, kDefaults, key.path));
  for (size_t i = 0; i < config.broker.listeners.size(); ++i) {
    for (const Key<broker::ListenerSettings>& key : ListenerKeys()) {
      entries.push_back(EntryOf(config, key, config.broker.listeners[i], kListener,
                                absl::StrCat("listeners.", i, ".", key.path)));
    }
  }
  return entries;
}

}  // namespace config
