// A value and its name in one heap block, and a set of them that is searched by name.
#ifndef BROKER_CORE_NAMED_H_
#define BROKER_CORE_NAMED_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"

namespace broker {

// absl's own hash takes absl::string_view, which in Debian's build is not std::string_view.
inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

// There are millions of filters, levels and topics: each is one block with its text at the end.
// Address and name never change.
template <typename T>
class Named {
 public:
  struct Delete {
    void operator()(Named* named) const {
      named->~Named();
      ::operator delete(named);
    }
  };
  using Ptr = std::unique_ptr<Named, Delete>;

  static Ptr Create(std::string_view name) {
    void* const block = ::operator new(std::max(sizeof(Named), kTextAt + name.size()));
    Ptr named(new (block) Named(static_cast<uint32_t>(name.size())));
    std::memcpy(named->text(), name.data(), name.size());
    return named;
  }
  Named(const Named&) = delete;
  Named& operator=(const Named&) = delete;

  std::string_view name() const { return {const_cast<Named*>(this)->text(), size_}; }

  T value{};

 private:
  explicit Named(uint32_t size) : size_(size) {}
  ~Named() = default;
  char* text() { return reinterpret_cast<char*>(this) + kTextAt; }

  static constexpr size_t kTextAt = sizeof(T) + sizeof(uint32_t);
  static_assert(alignof(T) >= alignof(uint32_t), "the text begins where the size ends");

  uint32_t size_;
};

// What NamedSet hashes by: to be reckoned once and passed on.
inline size_t HashOfName(std::string_view name) {
  return absl::Hash<absl::string_view>()(AbslView(name));
}

template <typename T>
struct NamedHash {
  using is_transparent = void;
  size_t operator()(std::string_view name) const { return HashOfName(name); }
  size_t operator()(const typename Named<T>::Ptr& named) const { return HashOfName(named->name()); }
};

template <typename T>
struct NamedEqual {
  using is_transparent = void;
  static std::string_view Name(std::string_view name) { return name; }
  static std::string_view Name(const typename Named<T>::Ptr& named) { return named->name(); }
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return Name(a) == Name(b);
  }
};

template <typename T>
using NamedSet = absl::flat_hash_set<typename Named<T>::Ptr, NamedHash<T>, NamedEqual<T>>;

}  // namespace broker
#endif  // BROKER_CORE_NAMED_H_
