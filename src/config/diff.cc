// What a reload changes.
#include <optional>
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

// For each listener that runs, which of `wanted` it is: by its URL. Of several at port 0 that of
// the same name, else they are taken in their order.
std::vector<std::optional<size_t>> Counterparts(const Listeners& running, const Listeners& wanted) {
  std::vector<std::optional<size_t>> found(running.size());
  std::vector<bool> taken(wanted.size());
  for (const bool by_name : {true, false}) {
    for (size_t i = 0; i < running.size(); ++i) {
      for (size_t j = 0; j < wanted.size() && !found[i].has_value(); ++j) {
        if (taken[j] || !(running[i].listener.url == wanted[j].listener.url)) continue;
        if (by_name && running[i].name != wanted[j].name) continue;
        found[i] = j;
        taken[j] = true;
      }
    }
  }
  return found;
}

std::string PathOf(size_t listener, absl::string_view key) {
  return absl::StrCat("listeners.", listener, ".", key);
}

void TakeOrigin(const Config& from, const std::string& from_path, Config& to,
                const std::string& path) {
  const auto found = from.origins.find(from_path);
  if (found == from.origins.end()) {
    to.origins.erase(path);
  } else {
    to.origins[path] = found->second;
  }
}

bool Said(const Config& config, const KeyInfo& key) {
  return OriginOf(config, key.path).source != Source::kDefault;
}

bool CanServe(const ListenerSettings& listener) {
  using ClientCertificate = broker::TlsOptions::ClientCertificate;
  const broker::TlsOptions& tls = listener.listener.tls;
  return !tls.cert_file.empty() && !tls.key_file.empty() &&
         (tls.client_certificate == ClientCertificate::kOff || !tls.ca_file.empty());
}

// A listener that is not in the file any more serves on until the restart. What it had from the
// keys outside `listeners` it goes on to have from there: who may not come in by these any more
// comes in nowhere. Without certificates outside it keeps those that it has.
void FollowOutside(const Config& running, const Config& wanted, size_t index, Config& result) {
  ListenerSettings& listener = result.broker.listeners[index];
  const broker::TlsOptions tls = listener.listener.tls;
  for (const Key<ListenerSettings>& key : ListenerKeys()) {
    const std::string path = PathOf(index, key.path);
    const Key<Config>* const outside = FindKey(ConfigKeys(), InheritedFrom(key.path));
    if (outside == nullptr || key.effect != Effect::kReload || HasOwnValue(running, path)) continue;
    const Value value = outside->get(wanted);
    if (value == outside->get(running) && Said(wanted, *outside) == Said(running, *outside))
      continue;
    key.set(listener, value);
    result.origins[path] = {Source::kInherited, outside->path};
  }
  if (listener.listener.url.tls() && !CanServe(listener)) listener.listener.tls = tls;
  // As at the start: anonymous clients are let in without a word only where there are no users.
  const bool said = OriginOf(result, PathOf(index, "allow_anonymous")).source != Source::kDefault;
  if (!said && NamesUsers(listener.auth)) listener.auth.allow_anonymous = false;
}

}  // namespace

std::vector<Change> Diff(const Config& before, const Config& after) {
  std::vector<Change> changes;
  for (const Key<Config>& key : ConfigKeys()) Compare(key, before, after, key.path, changes);
  const Listeners& old_listeners = before.broker.listeners;
  const Listeners& new_listeners = after.broker.listeners;
  if (Urls(old_listeners) != Urls(new_listeners)) {
    changes.push_back({"listeners", Urls(old_listeners), Urls(new_listeners), Effect::kRestart});
  }
  const auto counterparts = Counterparts(old_listeners, new_listeners);
  for (size_t i = 0; i < old_listeners.size(); ++i) {
    if (!counterparts[i].has_value()) continue;
    for (const Key<ListenerSettings>& key : ListenerKeys()) {
      const std::string path = PathOf(*counterparts[i], key.path);
      // What only follows from a key outside was named there.
      if (!HasOwnValue(before, PathOf(i, key.path)) && !HasOwnValue(after, path)) continue;
      Compare(key, old_listeners[i], new_listeners[*counterparts[i]], path, changes);
    }
  }
  return changes;
}

Config Reloaded(const Config& running, const Config& wanted) {
  Config result = running;
  for (const Key<Config>& key : ConfigKeys()) {
    if (key.effect != Effect::kReload) continue;
    key.set(result, key.get(wanted));
    TakeOrigin(wanted, key.path, result, key.path);
  }
  const Listeners& wanted_listeners = wanted.broker.listeners;
  const auto counterparts = Counterparts(running.broker.listeners, wanted_listeners);
  for (size_t i = 0; i < counterparts.size(); ++i) {
    if (!counterparts[i].has_value()) {
      FollowOutside(running, wanted, i, result);
      continue;
    }
    for (const Key<ListenerSettings>& key : ListenerKeys()) {
      if (key.effect != Effect::kReload) continue;
      key.set(result.broker.listeners[i], key.get(wanted_listeners[*counterparts[i]]));
      TakeOrigin(wanted, PathOf(*counterparts[i], key.path), result, PathOf(i, key.path));
    }
  }
  return result;
}

std::vector<ListenerSettings> FurtherListeners(const Config& running, const Config& wanted) {
  std::vector<bool> found(wanted.broker.listeners.size());
  for (const auto& counterpart : Counterparts(running.broker.listeners, wanted.broker.listeners)) {
    if (counterpart.has_value()) found[*counterpart] = true;
  }
  std::vector<ListenerSettings> further;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i]) further.push_back(wanted.broker.listeners[i]);
  }
  return further;
}

}  // namespace config
