#include "auth/core/method.h"

#include <utility>

#include "base/check.h"

namespace auth {

void AuthMethodRegistry::Register(std::string name, Factory factory) {
  const bool is_new = factories_.try_emplace(std::move(name), std::move(factory)).second;
  CHECK(is_new) << "two authentication methods of one name";
}

std::unique_ptr<AuthMethod> AuthMethodRegistry::Create(std::string_view name) const {
  const auto it = factories_.find(name);
  return it == factories_.end() ? nullptr : it->second();
}

}  // namespace auth
