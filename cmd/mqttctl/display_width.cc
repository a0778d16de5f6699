#include "display_width.h"

#include <locale.h>

#include <cwchar>

namespace mqttctl {
namespace {

// What the C library knows of Unicode, whatever the user's language is. Where it has no such
// locale, each byte that is not ASCII takes a cell.
class InUnicode {
 public:
  InUnicode() {
    static const locale_t unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (unicode != nullptr) before_ = uselocale(unicode);
  }
  ~InUnicode() {
    if (before_ != nullptr) uselocale(before_);
  }
  InUnicode(const InUnicode&) = delete;
  InUnicode& operator=(const InUnicode&) = delete;

 private:
  locale_t before_ = nullptr;
};

}  // namespace

size_t DisplayWidth(absl::string_view text) {
  const InUnicode in_unicode;
  size_t width = 0;
  while (!text.empty()) {
    wchar_t character = 0;
    std::mbstate_t state = {};
    const size_t length = std::mbrtowc(&character, text.data(), text.size(), &state);
    const bool is_character = length > 0 && length <= text.size();
    const int cells = is_character ? wcwidth(character) : 1;
    width += static_cast<size_t>(cells < 0 ? 1 : cells);
    text.remove_prefix(is_character ? length : 1);
  }
  return width;
}

}  // namespace mqttctl
