// What a reload changes.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/config.h"
#include "config/resolve.h"
#include "config/schema.h"

namespace config {
namespace {

using broker::ListenerSettings;
using Listeners = std::vector<ListenerSettings>;

std::string Urls(const Listeners& listeners) {
  return absl::StrJoin(listeners, ", ", [](std::string* out, const ListenerSettings& listener) {
    absl::StrAppend(out, listener.listener.url.ToString());
  });
}

bool HasOwnValue(const Config& config, absl::string_view path) {
  return OriginOf(config, path).source > Source::kInherited;
}

template <typename Root>
void Compare(const Key<Root>& key, const Root& before, const Root& after, std::string path,
             std::vector<Change>& changes) {
  const Value old_value = key.get(before);
  const Value new_value = key.get(after);
  if (old_value == new_value) return;
  changes.push_back({std::move(path), FormatValue(key.domain, old_value),
                     FormatValue(key.domain, new_value), key.effect});
}

}  // namespace

std::vector<Change> Diff(const Config& before, const Config& after) {
  std::vector<Change> changes;
  for (const Key<Config>& key : ConfigKeys()) Compare(key, before, after, key.path, changes);
  const Listeners& old_listeners = before.broker.listeners;
  const Listeners& new_listeners = after.broker.listeners;
  if (Urls(old_listeners) != Urls(new_listeners)) {
    changes.push_back({"listeners", Urls(old_listeners), Urls(new_listeners), Effect::kRestart});
    return changes;
  }
  for (size_t i = 0; i < new_listeners.size(); ++i) {
    for (const Key<ListenerSettings>& key : ListenerKeys()) {
      const std::string path = absl::StrCat("listeners.", i, ".", key.path);
      // What only follows from a key outside was named there.
      if (!InheritedFrom(key.path).empty() && !HasOwnValue(before, path) &&
          !HasOwnValue(after, path)) {
        continue;
      }
      Compare(key, old_listeners[i], new_listeners[i], path, changes);
    }
  }
  return changes;
}

Config Reloaded(const Config& running, const Config& wanted) {
  Config result = running;
  const auto take_origin = [&](const std::string& path) {
    const auto found = wanted.origins.find(path);
    if (found == wanted.origins.end()) {
      result.origins.erase(path);
    } else {
      result.origins[path] = found->second;
    }
  };
  for (const Key<Config>& key : ConfigKeys()) {
    if (key.effect != Effect::kReload) continue;
    key.set(result, key.get(wanted));
    take_origin(key.path);
  }
  Listeners& listeners = result.broker.listeners;
  if (Urls(listeners) != Urls(wanted.broker.listeners)) return result;
  for (size_t i = 0; i < listeners.size(); ++i) {
    for (const Key<ListenerSettings>& key : ListenerKeys()) {
      if (key.effect != Effect::kReload) continue;
      key.set(listeners[i], key.get(wanted.broker.listeners[i]));
      take_origin(absl::StrCat("listeners.", i, ".", key.path));
    }
  }
  return result;
}

}  // namespace config
