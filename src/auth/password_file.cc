#include "auth/password_file.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "auth/core/text.h"
#include "auth/file.h"
#include "base/status_macros.h"

namespace auth {
namespace {

// What unknown users cost when the file has no user at all: the default of mosquitto_passwd. It is
// the hash of nothing; its result is not looked at.
constexpr std::string_view kDefaultStandIn =
    "$7$101$AAAAAAAAAAAAAAAAAAAAAA==$"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

}  // namespace

absl::StatusOr<std::shared_ptr<const PasswordTable>> PasswordTable::Parse(
    std::string_view text, std::string_view file_name) {
  auto table = std::shared_ptr<PasswordTable>(new PasswordTable);
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
    const auto costs_like = [&](const PasswordHash& other) { return other.CostsLike(*hash); };
    if (std::none_of(table->stand_ins_.begin(), table->stand_ins_.end(), costs_like)) {
      table->stand_ins_.push_back(*hash);
    }
    if (!table->users_.try_emplace(user_name, *std::move(hash)).second) {
      fail(absl::StrCat("user '", user_name, "' stands here again; remove one of the lines"));
    }
  }
  RETURN_IF_ERROR(errors.ToStatus());
  if (table->stand_ins_.empty()) {
    ASSIGN_OR_RETURN(PasswordHash stand_in, PasswordHash::Parse(kDefaultStandIn));
    table->stand_ins_.push_back(std::move(stand_in));
  }
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&table->stand_in_key_),
                 sizeof(table->stand_in_key_)) != 1) {
    return absl::InternalError("no random bytes");
  }
  return std::shared_ptr<const PasswordTable>(std::move(table));
}

const PasswordHash& PasswordTable::StandInFor(std::string_view unknown_user) const {
  const size_t hash = absl::HashOf(stand_in_key_, std::string(unknown_user));
  return stand_ins_[hash % stand_ins_.size()];
}

bool PasswordTable::Verify(std::string_view user_name, std::string_view password) const {
  const auto it = users_.find(user_name);
  const bool known = it != users_.end();
  const PasswordHash& hash = known ? it->second : StandInFor(user_name);
  const bool right = hash.Verify(password);
  return known && right;
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
