// The table of users and password hashes, from a mosquitto password file.
#ifndef AUTH_PASSWORD_FILE_H_
#define AUTH_PASSWORD_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "auth/core/string_map.h"
#include "auth/password_hash.h"
#include "auth/stand_ins.h"

namespace auth {

// Immutable after `Parse`, shared by any number of threads; a reload makes a new one. One user a
// line, `NAME:HASH`, the hash as in password_hash.h; blank lines and lines that begin with # are
// skipped.
class PasswordTable {
 public:
  // Errors (kInvalidArgument): "FILE:LINE: what is wrong; what to do".
  static absl::StatusOr<std::shared_ptr<const PasswordTable>> Parse(std::string_view text,
                                                                    std::string_view file_name);

  // True when the user exists and the password is right. As slow as the hash (password_hash.h):
  // never call on a shard. An unknown user costs as much as a known one, see StandIns.
  bool Verify(std::string_view user_name, std::string_view password) const {
    const PasswordHash* const known = Find(user_name);
    const bool right = (known != nullptr ? *known : stand_ins_.For(user_name)).Verify(password);
    return known != nullptr && right;
  }

  bool Contains(std::string_view user_name) const { return users_.contains(user_name); }
  // Null: there is no such user.
  const PasswordHash* Find(std::string_view user_name) const {
    const auto it = users_.find(user_name);
    return it == users_.end() ? nullptr : &it->second;
  }
  size_t size() const { return users_.size(); }
  const StandIns& stand_ins() const { return stand_ins_; }

 private:
  explicit PasswordTable(StandIns stand_ins) : stand_ins_(std::move(stand_ins)) {}

  StringMap<PasswordHash> users_;
  StandIns stand_ins_;
};

struct LoadedPasswordFile {
  std::shared_ptr<const PasswordTable> table;
  std::vector<std::string> warnings;  // For the log, such as a file that everyone may read.
};

// Reads from disk: not on a shard. Errors: those of `Parse`, or of the file, with its name.
absl::StatusOr<LoadedPasswordFile> LoadPasswordFile(const std::string& path);

}  // namespace auth

#endif  // AUTH_PASSWORD_FILE_H_
