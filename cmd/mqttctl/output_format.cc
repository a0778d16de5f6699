#include "output_format.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/by_name.h"
#include "json_text.h"

namespace mqttctl {
namespace {

using mqttd::client::ReceivedMessage;

constexpr std::string_view kFields = "ACDEFIJPRSUXjlmpqrtx%";
constexpr std::string_view kZeroPadded = "AEFlmSXx";
constexpr std::string_view kCut = "CIRt";

absl::Status Wrong(std::string_view words) {
  return absl::InvalidArgumentError(absl::StrCat("-F: ", base::AbslView(words)));
}

// What a backslash and this letter stand for; 0: itself is the answer to '0'.
std::optional<char> Escape(char letter) {
  switch (letter) {
    case '\\':
      return '\\';
    case '0':
      return '\0';
    case 'a':
      return '\a';
    case 'e':
      return '\x1B';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      return std::nullopt;
  }
}

int TakeNumber(std::string_view& rest) {
  int number = 0;
  while (!rest.empty() && std::isdigit(static_cast<unsigned char>(rest.front())) != 0) {
    number = std::min(number * 10 + (rest.front() - '0'), 10'000);
    rest.remove_prefix(1);
  }
  return number;
}

std::string Nanoseconds(absl::Time now) {
  return absl::StrFormat("%09d", absl::ToUnixNanos(now) % 1'000'000'000);
}

std::string Hexadecimal(const std::string& bytes, bool upper) {
  std::string text = absl::BytesToHexString(bytes);
  if (upper) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  }
  return text;
}

std::string UserProperties(const ReceivedMessage& message) {
  std::string text;
  for (const auto& property : message.user_properties) {
    absl::StrAppend(&text, text.empty() ? "" : " ", property.name, ":", property.value);
  }
  return text;
}

}  // namespace

absl::StatusOr<OutputFormat::Part> OutputFormat::ParseField(std::string_view& rest) {
  Part part;
  part.kind = Part::Kind::kField;
  for (; !rest.empty() && (rest.front() == '0' || rest.front() == '-'); rest.remove_prefix(1)) {
    (rest.front() == '0' ? part.zeros : part.left) = true;
  }
  part.width_min = TakeNumber(rest);
  if (!rest.empty() && rest.front() == '.') {
    rest.remove_prefix(1);
    part.width_max = TakeNumber(rest);
  }
  if (rest.empty()) return Wrong("a format specifier is incomplete");
  part.letter = rest.front();
  rest.remove_prefix(1);
  if (kFields.find(part.letter) == std::string_view::npos) {
    return Wrong(absl::StrFormat("there is no format specifier %%%c", part.letter));
  }
  return part;
}

absl::StatusOr<OutputFormat> OutputFormat::Parse(std::string_view format, bool pretty_json) {
  OutputFormat result;
  result.pretty_json_ = pretty_json;
  std::string text;
  const auto flush = [&] {
    if (text.empty()) return;
    result.parts_.push_back({});
    result.parts_.back().text = std::exchange(text, {});
  };
  while (!format.empty()) {
    const char mark = format.front();
    format.remove_prefix(1);
    if (mark != '%' && mark != '@' && mark != '\\') {
      text.push_back(mark);
      continue;
    }
    if (format.empty()) return Wrong("a format specifier is incomplete");
    if (mark == '%') {
      auto part = ParseField(format);
      if (!part.ok()) return part.status();
      flush();
      result.parts_.push_back(*std::move(part));
      continue;
    }
    const char letter = format.front();
    format.remove_prefix(1);
    if (mark == '@') {
      flush();
      Part part;
      part.kind = Part::Kind::kTime;
      part.letter = letter;
      result.parts_.push_back(part);
    } else if (const auto escaped = Escape(letter)) {
      text.push_back(*escaped);
    } else {
      return Wrong(absl::StrFormat("there is no escape \\%c", letter));
    }
  }
  flush();
  return result;
}

absl::Status OutputFormat::Append(const ReceivedMessage& message, absl::Time now,
                                  std::string& out) const {
  for (const Part& part : parts_) {
    if (part.kind == Part::Kind::kText) {
      out += part.text;
    } else if (part.kind == Part::Kind::kTime && part.letter == '@') {
      out.push_back('@');
    } else if (part.kind == Part::Kind::kTime && part.letter == 'N') {
      out += Nanoseconds(now);
    } else if (part.kind == Part::Kind::kTime) {
      out += absl::FormatTime(std::string("%") + part.letter, now, absl::LocalTimeZone());
    } else if (absl::Status status = AppendField(part, message, now, out); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

// tidy: long function: a table of the letters.
absl::Status OutputFormat::AppendField(const Part& part, const ReceivedMessage& message,
                                       absl::Time now, std::string& out) const {
  const auto number = [](auto value) { return value == 0 ? std::string() : absl::StrCat(value); };
  std::string text;
  switch (part.letter) {
    case '%':
      out.push_back('%');
      return absl::OkStatus();
    case 'A':
      text = number(message.topic_alias);
      break;
    case 'C':
      text = message.content_type;
      break;
    case 'D':
      out += message.correlation_data;
      return absl::OkStatus();
    case 'E':
      if (message.message_expiry_s.has_value()) text = absl::StrCat(*message.message_expiry_s);
      break;
    case 'F':
      if (message.payload_is_utf8) text = "1";
      break;
    case 'I':
      text = absl::FormatTime("%Y-%m-%dT%H:%M:%S%z", now, absl::LocalTimeZone());
      break;
    case 'j':
    case 'J':
      return AppendJson(message, now, part.letter == 'J', pretty_json_, out);
    case 'l':
      text = absl::StrCat(message.payload.size());
      break;
    case 'm':
      text = absl::StrCat(message.packet_id.value);
      break;
    case 'P':
      out += UserProperties(message);
      return absl::OkStatus();
    case 'p':
      text = message.payload;
      break;
    case 'q':
      out += static_cast<char>('0' + static_cast<int>(message.qos));
      return absl::OkStatus();
    case 'R':
      text = message.response_topic;
      break;
    case 'r':
      out += message.retain ? '1' : '0';
      return absl::OkStatus();
    case 'S':
      if (!message.subscription_ids.empty()) text = absl::StrCat(message.subscription_ids.front());
      break;
    case 't':
      text = message.topic;
      break;
    case 'U':
      absl::StrAppend(&out, absl::ToUnixSeconds(now), ".", Nanoseconds(now));
      return absl::OkStatus();
    default:
      text = Hexadecimal(message.payload, part.letter == 'X');
  }
  if (part.width_max >= 0 && kCut.find(part.letter) != std::string_view::npos) {
    text.resize(std::min(text.size(), static_cast<size_t>(part.width_max)));
  }
  const size_t width = static_cast<size_t>(part.width_min);
  const size_t fill = width > text.size() ? width - text.size() : 0;
  const bool zeros =
      part.zeros && !part.left && kZeroPadded.find(part.letter) != std::string_view::npos;
  if (!part.left) out.append(fill, zeros ? '0' : ' ');
  out += text;
  if (part.left) out.append(fill, ' ');
  return absl::OkStatus();
}

}  // namespace mqttctl
