// Configuration text of any kind is read or refused; what is read is printed and read again.
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<config::Config> config = config::Parse(text, "fuzz.yaml");
  if (!config.ok()) return 0;
  const absl::StatusOr<config::Config> again = config::Parse(config::Print(*config), "again.yaml");
  CHECK(again.ok()) << "what was printed does not read back: " << again.status();
  CHECK(config::Diff(*config, *again).empty()) << "printing changed a value";
  return 0;
}
