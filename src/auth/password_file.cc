#include "auth/password_file.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "auth/core/text.h"
#include "auth/file.h"
#include "base/status_macros.h"

namespace auth {
absl::StatusOr<std::shared_ptr<const PasswordTable>> PasswordTable::Parse(
    std::string_view text, std::string_view file_name) {
  ASSIGN_OR_RETURN(StandIns stand_ins, StandIns::Make());
  auto table = std::shared_ptr<PasswordTable>(new PasswordTable(std::move(stand_ins)));
  LineReader lines(text);
  FileErrors errors;
  while (lines.Next()) {
    const auto fail = [&](absl::string_view what) {
      errors.Add(absl::InvalidArgumentError(
          absl::StrCat(std::string(file_name), ":", lines.number(), ": ", what)));
    };
    const size_t colon = lines.line().find(':');
    if (colon == std::string_view::npos) {
      fail("no ':'; a line is USER:HASH");
      continue;
    }
    if (colon == 0) {
      fail("no user name before the ':'; a line is USER:HASH");
      continue;
    }
    const std::string user_name(lines.line().substr(0, colon));
    auto hash = PasswordHash::Parse(lines.line().substr(colon + 1));
    if (!hash.ok()) {
      fail(hash.status().message());
      continue;
    }
    table->stand_ins_.Add(*hash);
    if (!table->users_.try_emplace(user_name, *std::move(hash)).second) {
      fail(absl::StrCat("user '", user_name, "' stands here again; remove one of the lines"));
    }
  }
  RETURN_IF_ERROR(errors.ToStatus());
  return std::shared_ptr<const PasswordTable>(std::move(table));
}

absl::StatusOr<LoadedPasswordFile> LoadPasswordFile(const std::string& path) {
  ASSIGN_OR_RETURN(const FileContents contents, ReadFile(path));
  LoadedPasswordFile loaded;
  ASSIGN_OR_RETURN(loaded.table, PasswordTable::Parse(contents.text, path));
  if (contents.readable_by_all) {
    loaded.warnings.push_back(
        absl::StrCat(path, ": every user of this machine may read the password hashes; chmod o-r"));
  }
  if (loaded.table->size() == 0) {
    loaded.warnings.push_back(absl::StrCat(path, ": no users; nobody can log in with a password"));
  }
  return loaded;
}

}  // namespace auth
