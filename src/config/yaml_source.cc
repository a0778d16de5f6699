// The YAML file as a stream of settings, each with its line and column.
#include <exception>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "config/mosquitto_conf.h"
#include "config/schema.h"
#include "config/sources.h"
#include "mqtt/utf8.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/mark.h"
#include "yaml-cpp/parser.h"

namespace config {
namespace {

// Deeper than any key; bounds the parser's recursion on hostile input.
constexpr size_t kDepthMax = 16;

// Ends the reading of a file of which nothing more can be made sense of. Caught in ReadYaml.
struct Abort {
  YAML::Mark mark;
  std::string what;
};

constexpr absl::string_view kBlanks = " \t\r";

bool IsBlankOrComment(absl::string_view text) {
  const size_t at = text.find_first_not_of(kBlanks);
  return at == absl::string_view::npos || text[at] == '#';
}

// Length of the quoted text that `text` begins with, both quotes included; npos: it does not end.
size_t QuotedLength(absl::string_view text) {
  const char quote = text.front();
  for (size_t at = 1; at < text.size(); ++at) {
    if (quote == '"' && text[at] == '\\') {
      ++at;
    } else if (text[at] == quote) {
      if (quote == '"' || at + 1 == text.size() || text[at + 1] != quote) return at + 1;
      ++at;  // Two of them in a single-quoted text stand for one.
    }
  }
  return absl::string_view::npos;
}

// The lines of the file, for what the library forgives: it reads on over the ends of lines and of
// the file after a quote that nobody closed, and takes what follows for part of the value.
class SourceLines {
 public:
  explicit SourceLines(absl::string_view text) : lines_(absl::StrSplit(text, '\n')) {}

  // What is wrong with a line by itself; empty: nothing.
  static std::string WhatIsWrong(absl::string_view line) {
    for (const char c : line) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte < 0x20 && c != '\t' && c != '\r') || byte == 0x7f)
        return "there is a control character in this line";
    }
    const size_t indent = line.find_first_not_of(' ');
    if (indent != absl::string_view::npos && line[indent] == '\t' && !IsBlankOrComment(line))
      return "a tab; indent with spaces";
    return {};
  }

  const std::vector<absl::string_view>& lines() const { return lines_; }

  // Whether the value that the parser found at `mark` is what stands there, on that line alone.
  // Empty: it is.
  std::string WhatIsWrong(const YAML::Mark& mark, absl::string_view value) const {
    const auto line = static_cast<size_t>(mark.line);
    const auto column = static_cast<size_t>(mark.column);
    if (line >= lines_.size() || column >= lines_[line].size()) return {};  // An empty value.
    const absl::string_view rest = lines_[line].substr(column);
    if (rest.front() == '"' || rest.front() == '\'') {
      const size_t length = QuotedLength(rest);
      if (length == absl::string_view::npos) return "the quote that begins here is not closed";
      const absl::string_view after = rest.substr(length);
      if (!IsBlankOrComment(after) &&
          absl::string_view(":,]}").find(after[after.find_first_not_of(kBlanks)]) ==
              absl::string_view::npos)
        return "something follows the closing quote";
      return {};
    }
    if (absl::StartsWith(rest, value)) return {};
    return "a value goes over several lines; it must stand on one (or is a \":\" or \"- \" missing "
           "in the next?)";
  }

  void NoteRead(const YAML::Mark& mark) { read_.insert(static_cast<size_t>(mark.line)); }

  // The first line, counted from 0, that says something and of which nothing was read.
  std::optional<size_t> FirstUnread() const {
    for (size_t i = 0; i < lines_.size(); ++i) {
      const absl::string_view line = absl::StripAsciiWhitespace(lines_[i]);
      const bool only_marks = line.find_first_not_of("[]{},- ") == absl::string_view::npos;
      if (read_.count(i) == 0 && !only_marks && line.front() != '#' && line != "...") return i;
    }
    return std::nullopt;
  }

 private:
  const std::vector<absl::string_view> lines_;
  std::set<size_t> read_;
};

// Walks along with the parser's events; no tree is built, so aliases cannot make one explode.
class SettingsReader final : public YAML::EventHandler {
 public:
  SettingsReader(SourceLines& lines, absl::string_view file_name, Errors& errors)
      : lines_(lines), file_name_(file_name), errors_(errors) {}

  std::vector<Assignment> TakeAssignments() { return std::move(assignments_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) throw Abort{mark, "a second document; only one is read"};
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseProperties(mark, "", anchor);
    if (ExpectsKey()) throw Abort{mark, "a key is missing"};
    if (levels_.empty()) return;  // An empty file: every key has its default.
    const Place place = NextPlace(mark);
    if (place.skipped) return;
    switch (Classify(place.path)) {
      case PathKind::kSection:
      case PathKind::kListeners:
        return;  // All of it commented out.
      case PathKind::kUnknown:
        Fail(place, Unknown(place.path));
        return;
      case PathKind::kKey:
      case PathKind::kListener:
        Fail(place, "has no value; for an empty text write \"\"");
        return;
    }
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Abort{mark, "aliases (*name) are not supported; repeat the value"};
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    lines_.NoteRead(mark);
    RefuseProperties(mark, tag, anchor);
    if (std::string wrong = lines_.WhatIsWrong(mark, value); !wrong.empty())
      throw Abort{mark, std::move(wrong)};
    if (ExpectsKey()) {
      TakeKey(mark, value);
      return;
    }
    if (levels_.empty()) throw Abort{mark, "expects keys and values, such as \"log:\""};
    const Place place = NextPlace(mark);
    if (place.skipped) return;
    switch (Classify(place.path)) {
      case PathKind::kKey:
      case PathKind::kListeners:
        Assign(place, place.path, value);
        return;
      case PathKind::kListener:  // A URL alone is a whole listener.
        Assign(place, absl::StrCat(place.path, ".url"), value);
        return;
      case PathKind::kSection:
        Fail(place, "is a section of keys, not a value");
        return;
      case PathKind::kUnknown:
        Fail(place, Unknown(place.path));
        return;
    }
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    lines_.NoteRead(mark);
    RefuseProperties(mark, tag, anchor);
    Enter(mark, Shape::kSequence);
  }
  void OnSequenceEnd() override { levels_.pop_back(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    lines_.NoteRead(mark);
    RefuseProperties(mark, tag, anchor);
    Enter(mark, Shape::kMap);
  }
  void OnMapEnd() override { levels_.pop_back(); }

 private:
  enum class Shape : uint8_t { kMap, kSequence };

  struct Level {
    Shape shape = Shape::kMap;
    bool skipped = false;   // An error was reported for it: what is in it is not looked at.
    bool has_key = false;   // kMap: the key was read, its value comes next.
    size_t next_index = 0;  // kSequence.
    std::string path;       // Empty at the top.
    std::string key_path;   // kMap: of the key read last.
    YAML::Mark key_mark;    // Likewise.
    std::set<std::string> seen;
  };

  struct Place {
    std::string path;
    YAML::Mark mark;
    bool skipped = false;
  };

  // Of every node.
  void RefuseProperties(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor)
      throw Abort{mark, "anchors (&name) are not supported; repeat the value"};
    // The library's words for "none": unquoted and quoted.
    if (!tag.empty() && tag != "?" && tag != "!")
      throw Abort{mark, "tags (!name) are not supported"};
  }

  bool ExpectsKey() const {
    return !levels_.empty() && levels_.back().shape == Shape::kMap && !levels_.back().has_key;
  }

  void TakeKey(const YAML::Mark& mark, const std::string& text) {
    Level& level = levels_.back();
    level.has_key = true;
    level.key_mark = mark;
    if (level.skipped) return;
    const std::string name = CanonicalName(text);
    const std::string shown = absl::Utf8SafeCEscape(name);
    level.key_path = level.path.empty() ? shown : absl::StrCat(level.path, ".", shown);
    if (!level.seen.insert(name).second) {
      throw Abort{mark, absl::StrCat(level.key_path, " is given twice")};
    }
  }

  // Where the value stands that begins now.
  Place NextPlace(const YAML::Mark& mark) {
    Level& level = levels_.back();
    Place place{.path = {}, .mark = mark, .skipped = level.skipped};
    if (level.shape == Shape::kMap) {
      level.has_key = false;
      place.path = level.key_path;
      place.mark = level.key_mark;
    } else {
      place.path = absl::StrCat(level.path, ".", level.next_index++);
    }
    return place;
  }

  void Enter(const YAML::Mark& mark, Shape shape) {
    if (ExpectsKey()) throw Abort{mark, "a key must be a word"};
    if (levels_.size() == kDepthMax) throw Abort{mark, "nested too deeply"};
    Level level;
    level.shape = shape;
    if (levels_.empty()) {
      if (shape == Shape::kSequence) throw Abort{mark, "expects keys and values, not a list"};
    } else {
      Place place = NextPlace(mark);
      level.skipped = place.skipped || !MayEnter(place, shape);
      level.path = std::move(place.path);
    }
    levels_.push_back(std::move(level));
  }

  // Reports why not.
  bool MayEnter(const Place& place, Shape shape) {
    const bool map = shape == Shape::kMap;
    switch (Classify(place.path)) {
      case PathKind::kSection:
        if (!map) Fail(place, "is a section of keys, not a list");
        return map;
      case PathKind::kListeners:
        if (map) Fail(place, "is a list: begin each listener with \"- url:\"");
        return !map;
      case PathKind::kListener:
        if (!map) Fail(place, "a listener is a URL, or keys and values");
        if (map) Assign(place, place.path, "");
        return map;
      case PathKind::kKey:
        Fail(place, map ? "is a single value, not a section" : "is a single value, not a list");
        return false;
      case PathKind::kUnknown:
        break;
    }
    Fail(place, Unknown(place.path));
    return false;
  }

  std::string Where(const YAML::Mark& mark) const {
    return absl::StrCat(file_name_, ":", mark.line + 1, ":", mark.column + 1);
  }

  void Fail(const Place& place, absl::string_view what) {
    errors_.Add(Where(place.mark), absl::StrCat(place.path, ": ", what));
  }

  void Assign(const Place& place, std::string path, std::string value) {
    assignments_.push_back({std::move(path), std::move(value), {Source::kFile, Where(place.mark)}});
  }

  SourceLines& lines_;
  const absl::string_view file_name_;
  Errors& errors_;
  std::vector<Level> levels_;
  std::vector<Assignment> assignments_;
  int documents_ = 0;
};

}  // namespace

std::vector<Assignment> ReadYaml(absl::string_view text, absl::string_view file_name,
                                 Errors& errors) {
  const auto fail = [&](const YAML::Mark& mark, absl::string_view what) {
    errors.Add(mark.is_null() ? std::string(file_name)
                              : absl::StrCat(file_name, ":", mark.line + 1, ":", mark.column + 1),
               what);
  };
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");  // A byte order mark: it counts in no column.
  if (!mqtt::IsValidUtf8({text.data(), text.size()})) {
    errors.Add(file_name, "is not UTF-8 text");
    return {};
  }
  SourceLines lines(text);
  bool readable = true;
  for (size_t i = 0; i < lines.lines().size(); ++i) {
    const std::string wrong = SourceLines::WhatIsWrong(lines.lines()[i]);
    if (wrong.empty()) continue;
    errors.Add(absl::StrCat(file_name, ":", i + 1), wrong);
    readable = false;
  }
  if (!readable || RefuseMosquittoConf(text, file_name, errors)) return {};
  SettingsReader reader(lines, file_name, errors);
  // The library reports by exception; none leaves this function.
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(reader)) {
    }
    if (const std::optional<size_t> unread = lines.FirstUnread(); unread.has_value())
      errors.Add(absl::StrCat(file_name, ":", *unread + 1), "this line cannot be made sense of");
  } catch (const Abort& abort) {
    fail(abort.mark, abort.what);
  } catch (const YAML::Exception& error) {
    fail(error.mark, error.msg);
  } catch (const std::exception& error) {
    errors.Add(file_name, absl::StrCat("cannot be read as YAML: ", error.what()));
  }
  return reader.TakeAssignments();
}

}  // namespace config
