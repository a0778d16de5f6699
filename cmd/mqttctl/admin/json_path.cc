#include "admin/json_path.h"

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace mqttctl {
namespace {

using Json = nlohmann::ordered_json;

// One step of a path.
struct Step {
  std::string field;             // Empty: an element.
  std::optional<int64_t> index;  // Absent, and no field: all of them. Below 0: from the end.
};

// A piece of a template.
struct Piece {
  enum Kind { kText, kPath, kRange, kEnd };
  Kind kind = kText;
  std::string text;
  std::vector<Step> path;
};

absl::Status Wrong(absl::string_view what, absl::string_view where) {
  return absl::InvalidArgumentError(
      absl::StrCat("jsonpath: ", what, " at \"", where,
                   "\"; a template is such as "
                   "'{.members[*].node}' or '{range [*]}{.client_id}{\"\\n\"}{end}'"));
}

absl::Status ParseBracket(absl::string_view& rest, Step& step) {
  const size_t end = rest.find(']');
  if (end == absl::string_view::npos) return Wrong("a ] is missing", rest);
  absl::string_view inside = rest.substr(1, end - 1);
  int64_t index = 0;
  if (inside == "*") {
  } else if (absl::SimpleAtoi(inside, &index)) {
    step.index = index;
  } else if (inside.size() > 2 && inside.front() == '\'' && inside.back() == '\'') {
    step.field = std::string(inside.substr(1, inside.size() - 2));
  } else {
    return Wrong("between brackets stands a number, * or 'name'", rest);
  }
  rest.remove_prefix(end + 1);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Step>> ParsePath(absl::string_view rest) {
  std::vector<Step> path;
  absl::ConsumePrefix(&rest, "$");
  while (!rest.empty()) {
    Step step;
    if (rest.front() == '[') {
      RETURN_IF_ERROR(ParseBracket(rest, step));
      path.push_back(std::move(step));
      continue;
    }
    if (!absl::ConsumePrefix(&rest, ".")) return Wrong("a path begins with a point", rest);
    if (rest.empty() && path.empty()) return path;  // {.}
    if (absl::StartsWith(rest, "[")) continue;
    const size_t end = std::min(rest.find_first_of(".["), rest.size());
    if (end == 0) return Wrong("a name is missing", rest);
    if (rest.substr(0, end) != "*") step.field = std::string(rest.substr(0, end));
    path.push_back(std::move(step));
    rest.remove_prefix(end);
  }
  return path;
}

absl::StatusOr<Piece> ParseBraces(absl::string_view inside) {
  Piece piece;
  if (inside == "end") {
    piece.kind = Piece::kEnd;
    return piece;
  }
  if (inside.size() >= 2 && inside.front() == '"' && inside.back() == '"') {
    if (!absl::CUnescape(inside.substr(1, inside.size() - 2), &piece.text))
      return Wrong("not a text", inside);
    return piece;
  }
  piece.kind = absl::ConsumePrefix(&inside, "range ") ? Piece::kRange : Piece::kPath;
  ASSIGN_OR_RETURN(piece.path, ParsePath(inside));
  return piece;
}

absl::StatusOr<std::vector<Piece>> Parse(absl::string_view text) {
  std::vector<Piece> pieces;
  int depth = 0;
  while (!text.empty()) {
    const size_t begin = std::min(text.find('{'), text.size());
    if (begin > 0) pieces.push_back({Piece::kText, std::string(text.substr(0, begin)), {}});
    text.remove_prefix(begin);
    if (text.empty()) break;
    // A brace may stand in a text.
    size_t end = text.find('}');
    if (absl::StartsWith(text, "{\"")) {
      const size_t quote = text.find("\"}", 2);
      end = quote == absl::string_view::npos ? quote : quote + 1;
    }
    if (end == absl::string_view::npos) return Wrong("a } is missing", text);
    ASSIGN_OR_RETURN(Piece piece, ParseBraces(text.substr(1, end - 1)));
    depth += piece.kind == Piece::kRange ? 1 : piece.kind == Piece::kEnd ? -1 : 0;
    if (depth < 0 || depth > 1) return Wrong("ranges do not nest, and {end} ends one", text);
    pieces.push_back(std::move(piece));
    text.remove_prefix(end + 1);
  }
  if (depth != 0) return Wrong("{end} is missing", text);
  return pieces;
}

std::vector<const Json*> Find(const std::vector<Step>& path, const Json& root) {
  std::vector<const Json*> found = {&root};
  for (const Step& step : path) {
    std::vector<const Json*> next;
    for (const Json* const each : found) {
      if (!step.field.empty()) {
        if (each->is_object() && each->contains(step.field)) next.push_back(&each->at(step.field));
      } else if (!step.index.has_value()) {
        if (!each->is_structured()) continue;
        for (const Json& element : *each) next.push_back(&element);
      } else if (each->is_array()) {
        const auto size = static_cast<int64_t>(each->size());
        const int64_t index = *step.index < 0 ? size + *step.index : *step.index;
        if (index >= 0 && index < size) next.push_back(&each->at(static_cast<size_t>(index)));
      }
    }
    found = std::move(next);
  }
  return found;
}

std::string Text(const std::vector<const Json*>& values) {
  std::string text;
  for (const Json* const value : values) {
    absl::StrAppend(&text, text.empty() ? "" : " ",
                    value->is_string() ? value->get<std::string>() : value->dump());
  }
  return text;
}

}  // namespace

absl::Status CheckJsonPath(const std::string& text) { return Parse(text).status(); }

std::string EvaluateJsonPath(const std::string& text, const Json& value) {
  const std::vector<Piece> pieces = Parse(text).value_or(std::vector<Piece>());
  std::string out;
  const auto append = [&](const Piece& piece, const Json& at) {
    out += piece.kind == Piece::kText ? piece.text : Text(Find(piece.path, at));
  };
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].kind != Piece::kRange) {
      append(pieces[i], value);
      continue;
    }
    size_t end = i;
    while (pieces[end].kind != Piece::kEnd) ++end;
    for (const Json* const each : Find(pieces[i].path, value)) {
      for (size_t k = i + 1; k < end; ++k) append(pieces[k], *each);
    }
    i = end;
  }
  return out;
}

}  // namespace mqttctl
