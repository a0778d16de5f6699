#include "tests/mqtt/wire_text.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/check.h"
#include "mqtt/writer.h"

namespace mqtt {
namespace {

// The text up to `end`, which is taken off too.
std::string_view TakeTo(char end, std::string_view& text) {
  const size_t at = text.find(end);
  CHECK(at != std::string_view::npos) << "no " << end << " in: " << text;
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at + 1);
  return taken;
}

}  // namespace

std::string Wire(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (absl::ascii_isspace(static_cast<unsigned char>(text[0]))) {
      text.remove_prefix(1);
    } else if (text[0] == '\'') {
      text.remove_prefix(1);
      out.append(TakeTo('\'', text));
    } else if (text.substr(0, 2) == "s'") {
      text.remove_prefix(2);
      AppendString(out, TakeTo('\'', text));
    } else if (text.substr(0, 2) == "p{") {
      text.remove_prefix(2);
      const std::string block = Wire(TakeTo('}', text));
      AppendVariableByteInteger(out, static_cast<uint32_t>(block.size()));
      out.append(block);
    } else {
      CHECK(text.size() >= 2 && absl::ascii_isxdigit(static_cast<unsigned char>(text[0])) &&
            absl::ascii_isxdigit(static_cast<unsigned char>(text[1])))
          << "not two hex digits: " << text;
      out.append(absl::HexStringToBytes(absl::string_view(text.data(), 2)));
      text.remove_prefix(2);
    }
  }
  return out;
}

std::string Frame(uint8_t first_byte, std::string_view body_text) {
  const std::string body = Wire(body_text);
  std::string out;
  AppendByte(out, first_byte);
  AppendVariableByteInteger(out, static_cast<uint32_t>(body.size()));
  return out.append(body);
}

}  // namespace mqtt
