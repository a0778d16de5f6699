// absl::string_view is a type of its own where abseil was built for C++14, as distributions do.
#ifndef STORAGE_CORE_ABSL_VIEW_H_
#define STORAGE_CORE_ABSL_VIEW_H_

#include <string_view>

#include "absl/strings/string_view.h"

namespace storage {

inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace storage

#endif  // STORAGE_CORE_ABSL_VIEW_H_
