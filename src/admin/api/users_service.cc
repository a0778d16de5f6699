#include "admin/api/users_service.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "admin/api/client_pages.h"
#include "admin/api/convert.h"
#include "auth/hash_pool.h"
#include "auth/password_hash.h"
#include "base/glob.h"
#include "base/status_macros.h"
#include "mqtt/utf8.h"
#include "mqttd/admin/v1/users.pb.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Users";
constexpr size_t kUsersMax = 1'000'000;
constexpr size_t kNameBytesMax = 65'535;  // Of a UTF-8 string of MQTT.
constexpr size_t kPasswordBytesMax = 65'535;

std::vector<broker::Server::AccessFiles> FilesOf(const BrokerAccess& broker,
                                                 const std::string& user_name) {
  std::vector<broker::Server::AccessFiles> files;
  (void)broker.WithServer([&](broker::Server& server) {
    files = server.access_files(user_name);
    return absl::OkStatus();
  });
  return files;
}

bool StandsInAFile(const BrokerAccess& broker, const std::string& user_name) {
  const auto files = FilesOf(broker, user_name);
  return std::any_of(files.begin(), files.end(), [](const auto& each) { return each.knows_user; });
}

absl::StatusOr<pb::ListUsersResponse> List(const AccessParts& parts,
                                           const pb::ListUsersRequest& request) {
  RETURN_IF_ERROR(parts.broker.CheckOpen());
  const size_t size = PageSizeOf(request.page());
  const auto users = parts.access.ListUsers(request.page().token(), size);
  pb::ListUsersResponse response;
  for (const auth::RunTimeUser& user : users) {
    if (!request.name().empty() && !base::GlobMatches(request.name(), user.name)) continue;
    pb::User& proto = *response.add_users();
    proto.set_name(user.name);
    proto.set_by(user.by);
    *proto.mutable_set() = ToTimestamp(absl::FromUnixMillis(user.set_at_unix_ms));
  }
  if (users.size() == size) response.mutable_page()->set_next(users.back().name);
  if (!request.page().token().empty()) return response;
  for (const auto& each : FilesOf(parts.broker, {})) {
    pb::UserFile& file = *response.add_files();
    file.set_listener(each.listener);
    file.set_password_file(each.password_file);
    file.set_users(each.users);
    file.set_allow_anonymous(each.allow_anonymous);
  }
  return response;
}

absl::Status CheckName(const std::string& name) {
  if (name.empty()) return absl::InvalidArgumentError("name: whose?");
  if (name.size() > kNameBytesMax || !mqtt::IsValidUtf8(name))
    return absl::InvalidArgumentError("name: no client can have it");
  return absl::OkStatus();
}

// The password's hash, at once or from a thread of the pool for hashes.
void Hash(const BrokerAccess& broker, const pb::Password& password,
          const std::function<void(absl::StatusOr<std::string>)>& done) {
  if (password.form_case() == pb::Password::kHash) {
    const auto parsed = auth::PasswordHash::Parse(password.hash());
    if (parsed.ok()) return done(password.hash());
    return done(
        absl::InvalidArgumentError(absl::StrCat("password.hash: ", parsed.status().message())));
  }
  if (password.text().empty() || password.text().size() > kPasswordBytesMax)
    return done(absl::InvalidArgumentError("password: 1 to 65,535 bytes of text, or a hash"));
  auth::HashPool::Task task;
  task.run = [text = password.text(), done] {
    done(auth::HashPassword(auth::HashAlgorithm::kPbkdf2HmacSha512, text));
  };
  task.refuse = [done] {
    done(absl::ResourceExhaustedError("too many logins wait: try again in a moment"));
  };
  const absl::Status submitted = broker.WithServer([&](broker::Server& server) -> absl::Status {
    if (server.hash_pool() != nullptr &&
        server.hash_pool()->Submit(task) == auth::HashPool::Submitted::kAccepted)
      return absl::OkStatus();
    return absl::ResourceExhaustedError("too many logins wait: try again in a moment");
  });
  if (!submitted.ok()) done(submitted);
}

std::string WarningFor(const BrokerAccess& broker) {
  std::vector<std::string> open;
  for (const auto& each : FilesOf(broker, {})) {
    if (each.password_file.empty() && each.allow_anonymous) open.push_back(each.listener);
  }
  if (open.empty()) return {};
  return absl::StrCat(
      "listener ", absl::StrJoin(open, ", "),
      " has no password_file: from now on it refuses clients with other user names; "
      "those without a user name are let in still");
}

void Add(const AccessParts& parts, const Caller& caller, const pb::AddUserRequest& request,
         const Reply<pb::AddUserResponse>& reply) {
  absl::Status status = parts.broker.CheckOpen();
  if (status.ok()) status = CheckName(request.name());
  if (!status.ok()) return reply(status);
  Hash(parts.broker, request.password(),
       [parts, caller, name = request.name(), reply](const absl::StatusOr<std::string>& hash) {
         if (!hash.ok()) return reply(hash.status());
         const bool first = !parts.access.any_user();
         const auto made = parts.store.Change(caller, [&](Kept& change) -> absl::Status {
           if (parts.access.HasUser(name)) {
             return absl::AlreadyExistsError(
                 absl::StrCat("there is a user \"", name, "\"; set another password for him"));
           }
           if (parts.access.users() >= kUsersMax)
             return absl::ResourceExhaustedError(
                 absl::StrCat("there are ", kUsersMax, " users already"));
           change.mutable_set_user()->set_name(name);
           change.mutable_set_user()->set_password_hash(*hash);
           return absl::OkStatus();
         });
         if (!made.ok()) return reply(made.status());
         parts.spread.Everywhere(caller, *made, AccessSpread::Users::kStay,
                                 [parts, first, reply](const auto& done) {
                                   if (!done.ok()) return reply(done.status());
                                   pb::AddUserResponse response;
                                   if (first) response.set_warning(WarningFor(parts.broker));
                                   AddMissing(*done, response);
                                   reply(std::move(response));
                                 });
       });
}

void SetPassword(const AccessParts& parts, const Caller& caller,
                 const pb::SetPasswordRequest& request,
                 const Reply<pb::SetPasswordResponse>& reply) {
  absl::Status status = parts.broker.CheckOpen();
  if (status.ok()) status = CheckName(request.name());
  if (!status.ok()) return reply(status);
  const bool in_file = StandsInAFile(parts.broker, request.name());
  Hash(parts.broker, request.password(),
       [parts, caller, request, reply, in_file](const absl::StatusOr<std::string>& hash) {
         if (!hash.ok()) return reply(hash.status());
         const auto made = parts.store.Change(caller, [&](Kept& change) -> absl::Status {
           if (!in_file && !parts.access.HasUser(request.name()))
             return absl::NotFoundError(absl::StrCat("there is no user \"", request.name(), "\""));
           change.mutable_set_user()->set_name(request.name());
           change.mutable_set_user()->set_password_hash(*hash);
           return absl::OkStatus();
         });
         if (!made.ok()) return reply(made.status());
         parts.spread.Everywhere(
             caller, *made,
             request.disconnect() ? AccessSpread::Users::kDisconnect : AccessSpread::Users::kStay,
             [reply](const auto& done) {
               if (!done.ok()) return reply(done.status());
               pb::SetPasswordResponse response;
               response.set_disconnected(done->disconnected);
               AddMissing(*done, response);
               reply(std::move(response));
             });
       });
}

void Remove(const AccessParts& parts, const Caller& caller, const std::string& name,
            const Reply<pb::RemoveUserResponse>& reply) {
  absl::Status status = parts.broker.CheckOpen();
  if (!status.ok()) return reply(status);
  const bool in_file = StandsInAFile(parts.broker, name);
  const auto made = parts.store.Change(caller, [&](Kept& change) -> absl::Status {
    if (parts.access.HasUser(name)) {
      change.set_remove_user(name);
      return absl::OkStatus();
    }
    if (!in_file) return absl::NotFoundError(absl::StrCat("there is no user \"", name, "\""));
    return absl::FailedPreconditionError(
        absl::StrCat("\"", name,
                     "\" stands in a password file, which the broker never writes: remove the line "
                     "there and reload, or ban the user"));
  });
  if (!made.ok()) return reply(made.status());
  parts.spread.Everywhere(caller, *made, AccessSpread::Users::kStay, [reply](const auto& done) {
    if (!done.ok()) return reply(done.status());
    pb::RemoveUserResponse response;
    response.set_disconnected(done->disconnected);
    AddMissing(*done, response);
    reply(std::move(response));
  });
}

}  // namespace

void AddUsersService(const AccessParts& parts, Methods& methods) {
  methods.Add<pb::ListUsersRequest, pb::ListUsersResponse>(
      kService, "List", [parts](const Caller&, const pb::ListUsersRequest& request, auto reply) {
        reply(List(parts, request));
      });
  methods.Add<pb::AddUserRequest, pb::AddUserResponse>(
      kService, "Add",
      [parts](const Caller& caller, const pb::AddUserRequest& request, auto reply) {
        Add(parts, caller, request, reply);
      });
  methods.Add<pb::SetPasswordRequest, pb::SetPasswordResponse>(
      kService, "SetPassword",
      [parts](const Caller& caller, const pb::SetPasswordRequest& request, auto reply) {
        SetPassword(parts, caller, request, reply);
      });
  methods.Add<pb::RemoveUserRequest, pb::RemoveUserResponse>(
      kService, "Remove",
      [parts](const Caller& caller, const pb::RemoveUserRequest& request, auto reply) {
        Remove(parts, caller, request.name(), reply);
      });
}

}  // namespace admin
