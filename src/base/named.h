// A value and its name in one heap block, and a set of them that is searched by name.
#ifndef BASE_NAMED_H_
#define BASE_NAMED_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "base/by_name.h"

namespace base {

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

struct NameOfNamed {
  template <typename Ptr>
  std::string_view operator()(const Ptr& named) const {
    return named->name();
  }
};

template <typename T>
using NamedSet =
    absl::flat_hash_set<typename Named<T>::Ptr, HashByName<NameOfNamed>, EqualByName<NameOfNamed>>;

}  // namespace base
#endif  // BASE_NAMED_H_
