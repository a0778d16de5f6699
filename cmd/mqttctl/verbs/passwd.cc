// mqttctl passwd: password files, as mosquitto_passwd makes them. Asks no broker.
#include <CLI/Option.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "admin/ask_password.h"
#include "auth/file.h"
#include "auth/password_hash.h"
#include "base/status_macros.h"
#include "new_file.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

struct PasswdArguments {
  std::string file;
  std::string user;
  std::string algorithm = "pbkdf2";
  bool remove = false;
};

// Nothing, if there is no such file. Whatever else keeps it from being read is an error: what is
// not read would be lost.
absl::StatusOr<std::string> Read(const std::string& path) {
  absl::StatusOr<auth::FileContents> contents = auth::ReadFile(path);
  if (absl::IsNotFound(contents.status())) return std::string();
  if (!contents.ok()) return absl::InvalidArgumentError(contents.status().message());
  return std::move(contents->text);
}

absl::Status Replace(const std::string& path, absl::string_view text) {
  ASSIGN_OR_RETURN(NewFile file, NewFile::Create(path, NewFile::Mode::kEarlierOrPrivate));
  RETURN_IF_ERROR(file.Write(text));
  return file.Finish();
}

// The other lines as they are.
absl::Status Change(const PasswdArguments& arguments, const std::string& line) {
  ASSIGN_OR_RETURN(const std::string before, Read(arguments.file));
  std::string text;
  bool had = false;
  // Each line has an end, and behind the last one there is none.
  for (absl::string_view rest = before; !rest.empty();) {
    const absl::string_view each = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(each.size() + 1, rest.size()));
    if (!absl::StartsWith(each, arguments.user + ":")) {
      absl::StrAppend(&text, each, "\n");
    } else if (!std::exchange(had, true)) {
      text += line;
    }
  }
  if (arguments.remove && !had)
    return absl::NotFoundError(absl::StrCat(arguments.file, " has no user ", arguments.user));
  if (!had) text += line;
  return Replace(arguments.file, text);
}

absl::Status Passwd(const PasswdArguments& arguments) {
  if (arguments.user.empty() || absl::StrContains(arguments.user, ":") ||
      arguments.user.front() == '#') {
    return absl::InvalidArgumentError("a user name has no \":\" and does not begin with #");
  }
  if (arguments.remove) return Change(arguments, "");
  ASSIGN_OR_RETURN(const std::string password, AskPassword());
  ASSIGN_OR_RETURN(
      const std::string hash,
      auth::HashPassword(arguments.algorithm == "argon2id" ? auth::HashAlgorithm::kArgon2id
                                                           : auth::HashAlgorithm::kPbkdf2HmacSha512,
                         password));
  return Change(arguments, absl::StrCat(arguments.user, ":", hash, "\n"));
}

}  // namespace

void AddPasswd(CLI::App& app, VerbContext& context) {
  const auto arguments = std::make_shared<PasswdArguments>();
  CLI::App& verb = context.AddLocalVerb(
      app, "passwd",
      "Sets a user's password in a password file, which is made if there is none. The password is\n"
      "asked for, or a line of standard input. The broker reads the file again at SIGHUP.\n\n"
      "Example: echo secret | mqttctl passwd passwords alice",
      [arguments] { return Passwd(*arguments); });
  verb.add_option("file", arguments->file, "The password file")->required();
  verb.add_option("user", arguments->user, "User name")->required();
  verb.add_option("--algorithm", arguments->algorithm, "pbkdf2, as mosquitto has it, or argon2id")
      ->check(CLI::IsMember({"pbkdf2", "argon2id"}));
  verb.add_flag("--delete", arguments->remove, "Remove the user");
}

}  // namespace mqttctl
