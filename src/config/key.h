// One row of the schema: a key, what it may be, what it is for, and the field that it fills.
#ifndef CONFIG_KEY_H_
#define CONFIG_KEY_H_

#include <concepts>
#include <functional>
#include <iterator>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/value.h"

namespace config {

// When a changed value takes effect.
enum class Effect : uint8_t {
  kReload,   // At SIGHUP, for what happens from then on; no connection is closed.
  kRestart,  // At the next start.
};

// Everything about a key that does not depend on which struct holds it.
struct KeyInfo {
  std::string path;  // Dotted: "mqtt.receive_maximum".
  Domain domain;
  Effect effect = Effect::kRestart;
  std::string doc;   // One line, a sentence or two.
  std::string flag;  // A flag besides the derived one, such as "--http"; usually empty.
};

template <typename Root>
struct Key : KeyInfo {
  Key() = default;
  // Of what Root takes over from a base class.
  template <typename Base>
  requires(std::derived_from<Root, Base> && !std::same_as<Root, Base>) Key(Key<Base> key)
      : KeyInfo(std::move(static_cast<KeyInfo&>(key))),
        get(std::move(key.get)),
        set(std::move(key.set)) {}

  std::function<Value(const Root&)> get;
  std::function<void(Root&, const Value&)> set;  // The value is of the domain.
};

template <typename Root>
using Keys = std::vector<Key<Root>>;

// ---- Making rows.

inline Domain Bool() { return {.type = Type::kBool}; }
inline Domain Text(absl::Status (*check)(absl::string_view) = nullptr) {
  return {.type = Type::kText, .check = check};
}
inline Domain Path() { return {.type = Type::kPath}; }
inline Domain Integer(int64_t min, int64_t max) {
  return {.type = Type::kInteger, .min = min, .max = max};
}
inline Domain Bytes(int64_t min, int64_t max) {
  return {.type = Type::kBytes, .min = min, .max = max};
}
inline Domain Seconds(int64_t min, int64_t max) {
  return {.type = Type::kSeconds, .min = min, .max = max};
}
inline Domain Millis(int64_t min, int64_t max) {
  return {.type = Type::kMillis, .min = min, .max = max};
}
inline Domain Mode() { return {.type = Type::kMode, .min = 0, .max = 0777}; }

// What a value of 0 that stands for no bound is called.
inline constexpr absl::string_view kUnlimited = "unlimited";

// The same domain, with a name for one of its values.
inline Domain Named(Domain domain, std::string name, int64_t value) {
  domain.special_name = std::move(name);
  domain.special = value;
  return domain;
}

// A field that is a bool, a number, a string, or an absl::Duration (domain Millis).
template <typename Root, typename Field>
Key<Root> Row(std::string path, Field Root::*field, Domain domain, Effect effect, std::string doc) {
  Key<Root> key;
  static_cast<KeyInfo&>(key) = {std::move(path), std::move(domain), effect, std::move(doc), {}};
  key.get = [field](const Root& root) -> Value {
    if constexpr (std::same_as<Field, bool> || std::same_as<Field, std::string>) {
      return root.*field;
    } else if constexpr (std::same_as<Field, absl::Duration>) {
      return absl::ToInt64Milliseconds(root.*field);
    } else {
      return static_cast<int64_t>(root.*field);
    }
  };
  key.set = [field](Root& root, const Value& value) {
    if constexpr (std::same_as<Field, bool> || std::same_as<Field, std::string>) {
      root.*field = std::get<Field>(value);
    } else if constexpr (std::same_as<Field, absl::Duration>) {
      root.*field = absl::Milliseconds(std::get<int64_t>(value));
    } else {
      root.*field = static_cast<Field>(std::get<int64_t>(value));
    }
  };
  return key;
}

// A field that is an enum; the names are the words of the configuration.
template <typename Enum>
using Names = std::vector<std::pair<Enum, std::string>>;

template <typename Root, typename Enum>
Key<Root> ChoiceRow(std::string path, Enum Root::*field, Names<Enum> names, Effect effect,
                    std::string doc) {
  static_assert(std::is_enum_v<Enum>);
  Domain domain{.type = Type::kChoice};
  for (const auto& [value, name] : names) domain.choices.push_back(name);
  Key<Root> key;
  static_cast<KeyInfo&>(key) = {std::move(path), std::move(domain), effect, std::move(doc), {}};
  key.get = [field, names](const Root& root) -> Value {
    for (const auto& [value, name] : names) {
      if (root.*field == value) return name;
    }
    return std::string();
  };
  key.set = [field, names = std::move(names)](Root& root, const Value& text) {
    for (const auto& [value, name] : names) {
      if (name == std::get<std::string>(text)) root.*field = value;
    }
  };
  return key;
}

// The rows of a struct that is a member of another: "receive_maximum" becomes
// "mqtt.receive_maximum". An empty prefix leaves the names as they are.
template <typename Outer, typename Inner>
Keys<Outer> Within(absl::string_view prefix, Inner Outer::*member, Keys<Inner> keys) {
  Keys<Outer> result;
  for (Key<Inner>& key : keys) {
    Key<Outer> outer;
    static_cast<KeyInfo&>(outer) = key;
    if (!prefix.empty()) outer.path = absl::StrCat(prefix, ".", key.path);
    outer.get = [member, get = key.get](const Outer& root) { return get(root.*member); };
    outer.set = [member, set = key.set](Outer& root, const Value& value) {
      set(root.*member, value);
    };
    result.push_back(std::move(outer));
  }
  return result;
}

template <typename Root>
void Append(Keys<Root>& keys, Keys<Root> more) {
  keys.insert(keys.end(), std::make_move_iterator(more.begin()),
              std::make_move_iterator(more.end()));
}

}  // namespace config

#endif  // CONFIG_KEY_H_
