// mqttctl passwd: password files, as mosquitto_passwd makes them. Asks no broker.
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/Option.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "admin/ask_password.h"
#include "auth/password_hash.h"
#include "base/status_macros.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

struct PasswdArguments {
  std::string file;
  std::string user;
  std::string algorithm = "pbkdf2";
  bool remove = false;
};

// The other lines as they are.
absl::Status Change(const PasswdArguments& arguments, const std::string& line) {
  std::ifstream in(arguments.file, std::ios::binary);
  std::string text;
  bool had = false;
  for (std::string each; std::getline(in, each);) {
    if (!absl::StartsWith(each, arguments.user + ":")) {
      absl::StrAppend(&text, each, "\n");
    } else if (!std::exchange(had, true)) {
      text += line;
    }
  }
  if (arguments.remove && !had)
    return absl::NotFoundError(absl::StrCat(arguments.file, " has no user ", arguments.user));
  if (!had) text += line;
  const std::string next = arguments.file + ".new";
  struct stat as_it_was {};
  const bool exists = stat(arguments.file.c_str(), &as_it_was) == 0;
  const mode_t before = umask(0077);
  std::ofstream out(next, std::ios::binary | std::ios::trunc);
  umask(before);
  out << text;
  out.close();
  if (exists) {
    (void)chmod(next.c_str(), as_it_was.st_mode & 07777);
    [[maybe_unused]] const int kept = chown(next.c_str(), as_it_was.st_uid, as_it_was.st_gid);
  }
  if (out.fail() || std::rename(next.c_str(), arguments.file.c_str()) != 0)
    return absl::InvalidArgumentError(absl::StrCat("cannot write ", arguments.file));
  return absl::OkStatus();
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
