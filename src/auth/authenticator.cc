#include "auth/authenticator.h"

#include <openssl/crypto.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "auth/certificate.h"
#include "auth/file.h"
#include "auth/password_file.h"
#include "base/status_macros.h"

namespace auth {

// One consistent view of options and files, never changed once published.
struct Authenticator::Tables {
  AuthOptions options;
  std::shared_ptr<const PasswordTable> passwords;  // Null: no password file.
  std::shared_ptr<const Acl> acl;                  // Null: no ACL, everything is allowed.
  std::vector<std::string> warnings;
  uint64_t generation = 0;
  // Set by `Use`. Changes by itself, unlike the rest.
  std::shared_ptr<const RunTimeAccess> run_time;

  std::shared_ptr<const Permissions> PermissionsFor(const Identity& identity) const {
    MoreRules more = run_time->RulesOf(identity);
    if (acl != nullptr) return acl->PermissionsFor(identity, more);
    const bool deny = run_time->denies_by_default();
    if (more.own == nullptr && more.patterns == nullptr && !deny) return Permissions::Everything();
    const auto unmatched =
        deny ? Permissions::Unmatched::kDenied : Permissions::Unmatched::kAllowed;
    // Its names stand for nothing then. Here, where what no rule speaks of is allowed, a client
    // must not be rid of what is denied to everyone because it chose such a name.
    if (!MayUsePatterns(identity)) {
      return std::make_shared<const Permissions>(std::move(more.own), std::move(more.patterns), "",
                                                 "", unmatched, Permissions::Patterns::kOnlyDeny);
    }
    return std::make_shared<const Permissions>(
        std::move(more.own), std::move(more.patterns), identity.client_id,
        identity.anonymous ? std::string() : identity.user_name, unmatched);
  }

  // A user who was set at run time goes before one of the same name in the file.
  bool VerifiesPasswords() const { return passwords != nullptr || run_time->any_user(); }
  bool HasUser(std::string_view name) const {
    return (passwords != nullptr && passwords->Contains(name)) || run_time->HasUser(name);
  }
  std::optional<PasswordHash> FindUser(std::string_view name) const {
    if (auto hash = run_time->FindUser(name)) return hash;
    const PasswordHash* const hash = passwords == nullptr ? nullptr : passwords->Find(name);
    if (hash == nullptr) return std::nullopt;
    return *hash;
  }
  // The hash that the password is right for. None: it is wrong, or there is no such user.
  std::optional<PasswordHash> Verify(std::string_view name, std::string_view password) const {
    std::optional<PasswordHash> known = FindUser(name);
    const bool right = (known.has_value() ? *known : StandInFor(name)).Verify(password);
    if (!right) known.reset();
    return known;
  }
  PasswordHash StandInFor(std::string_view name) const {
    return passwords != nullptr ? passwords->stand_ins().For(name) : run_time->StandInFor(name);
  }

  // None: the user may not have the identifier that the client sent.
  std::optional<std::string> ClientIdFor(const Credentials& credentials,
                                         std::string_view user_name) const {
    if (options.use_username_as_clientid) {
      if (user_name.empty()) return std::nullopt;
      return std::string(user_name);
    }
    if (options.clientid_prefixes.empty()) return credentials.client_id;
    for (absl::string_view pattern : absl::StrSplit(options.clientid_prefixes, ',')) {
      pattern = absl::StripAsciiWhitespace(pattern);
      if (pattern.empty()) continue;
      if (user_name.empty() && absl::StrContains(pattern, "%u")) continue;
      const std::string prefix = absl::StrReplaceAll(
          pattern, {{"%u", absl::string_view(user_name.data(), user_name.size())}});
      if (credentials.client_id_assigned) return absl::StrCat(prefix, credentials.client_id);
      if (absl::StartsWith(credentials.client_id, prefix)) return credentials.client_id;
    }
    return std::nullopt;
  }

  // An empty `user_name` is an anonymous client.
  Outcome Admit(const Credentials& credentials, std::string_view user_name) const {
    std::optional<std::string> client_id = ClientIdFor(credentials, user_name);
    if (!client_id.has_value()) {
      return Refuse(options.use_username_as_clientid ? AuthCode::kNotAuthorized
                                                     : AuthCode::kClientIdentifierNotValid);
    }
    Outcome outcome;
    outcome.code = AuthCode::kOk;
    outcome.session_owner = options.session_owner;
    outcome.identity.user_name = std::string(user_name);
    outcome.identity.anonymous = user_name.empty();
    outcome.identity.client_id = *std::move(client_id);
    outcome.identity.listener = credentials.listener;
    if (credentials.certificate) {
      outcome.identity.certificate =
          std::make_shared<const CertificateFields>(*credentials.certificate);
    }
    outcome.permissions = PermissionsFor(outcome.identity);
    outcome.generation = generation;
    return outcome;
  }

  Outcome Refuse(AuthCode code) const {
    Outcome outcome;
    outcome.code = code;
    outcome.generation = generation;
    return outcome;
  }
};

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::Create(
    AuthOptions options, std::shared_ptr<HashPool> pool, std::shared_ptr<VerifiedLogins> verified,
    std::shared_ptr<const RunTimeAccess> run_time) {
  ASSIGN_OR_RETURN(std::shared_ptr<Tables> loaded, Load(std::move(options)));
  return With(std::move(loaded), std::move(pool), std::move(verified), std::move(run_time));
}

std::unique_ptr<Authenticator> Authenticator::With(std::shared_ptr<Tables> loaded,
                                                   std::shared_ptr<HashPool> pool,
                                                   std::shared_ptr<VerifiedLogins> verified,
                                                   std::shared_ptr<const RunTimeAccess> run_time) {
  if (pool == nullptr) pool = std::make_shared<HashPool>(HashPool::Limits{});
  if (run_time == nullptr) run_time = std::make_shared<const RunTimeAccess>();
  auto authenticator = std::unique_ptr<Authenticator>(
      new Authenticator(std::move(pool), std::move(verified), std::move(run_time)));
  authenticator->Use(std::move(loaded));
  return authenticator;
}

Authenticator::~Authenticator() = default;

absl::StatusOr<std::shared_ptr<Authenticator::Tables>> Authenticator::Load(AuthOptions options) {
  auto tables = std::make_shared<Tables>();
  tables->options = std::move(options);
  const AuthOptions& from = tables->options;
  if (!from.password_file.empty()) {
    ASSIGN_OR_RETURN(LoadedPasswordFile loaded, LoadPasswordFile(from.password_file));
    tables->passwords = std::move(loaded.table);
    tables->warnings = std::move(loaded.warnings);
  }
  if (!from.acl_file.empty()) {
    ASSIGN_OR_RETURN(const FileContents contents, ReadFile(from.acl_file));
    ASSIGN_OR_RETURN(tables->acl, Acl::Parse(contents.text, from.acl_file));
    const std::vector<std::string>& warnings = tables->acl->warnings();
    tables->warnings.insert(tables->warnings.end(), warnings.begin(), warnings.end());
    if (tables->acl->NeedsUserNames() && tables->passwords == nullptr &&
        from.use_identity_as_username == CertificateIdentity::kNone) {
      tables->warnings.push_back(
          absl::StrCat(from.acl_file,
                       ": has rules for user names, but nothing verifies user names, so that they "
                       "apply to nobody; set password_file or use_identity_as_username"));
    }
  }
  return tables;
}

AuthOptions Authenticator::options() const { return tables()->options; }

absl::Status Authenticator::Reload() { return Reload(options()); }

absl::Status Authenticator::Reload(AuthOptions options) {
  ASSIGN_OR_RETURN(std::shared_ptr<Tables> loaded, Load(std::move(options)));
  Use(std::move(loaded));
  return absl::OkStatus();
}

void Authenticator::Use(std::shared_ptr<Tables> loaded) {
  base::MutexLock lock(mutex_);
  const uint64_t generation = generation_.load(std::memory_order_relaxed) + 1;
  loaded->generation = generation;
  loaded->run_time = run_time_;
  tables_ = std::move(loaded);
  generation_.store(generation, std::memory_order_release);
}

std::shared_ptr<const Authenticator::Tables> Authenticator::tables() const {
  base::MutexLock lock(mutex_);
  return tables_;
}

std::optional<Outcome> Authenticator::Decide(const Tables& tables, const Credentials& credentials) {
  const AuthOptions& options = tables.options;
  if (options.use_identity_as_username != CertificateIdentity::kNone) {
    const auto user_name = credentials.certificate ? UserNameFrom(*credentials.certificate,
                                                                  options.use_identity_as_username)
                                                   : std::nullopt;
    return user_name ? tables.Admit(credentials, *user_name)
                     : tables.Refuse(AuthCode::kNotAuthorized);
  }
  if (credentials.user_name && tables.VerifiesPasswords()) {
    if (credentials.password) return std::nullopt;
    return tables.Refuse(AuthCode::kBadUserNameOrPassword);
  }
  if (options.allow_anonymous) return tables.Admit(credentials, "");
  return tables.Refuse(credentials.user_name ? AuthCode::kBadUserNameOrPassword
                                             : AuthCode::kNotAuthorized);
}

std::optional<Outcome> Authenticator::TryNow(const Credentials& credentials) const {
  const std::shared_ptr<const Tables> tables = this->tables();
  if (auto outcome = Decide(*tables, credentials)) return outcome;
  if (verified_ == nullptr) return std::nullopt;
  const std::optional<PasswordHash> stored = tables->FindUser(*credentials.user_name);
  if (!stored.has_value() ||
      !verified_->Knows(*credentials.user_name, *credentials.password, *stored)) {
    return std::nullopt;
  }
  return tables->Admit(credentials, *credentials.user_name);
}

HashPool::Ticket Authenticator::Authenticate(Credentials credentials,
                                             std::function<void(Outcome)> done) {
  const std::shared_ptr<const Tables> tables = this->tables();
  HashPool::Ticket ticket;
  if (auto outcome = Decide(*tables, credentials)) {
    done(*std::move(outcome));
    return ticket;
  }
  // Shared with the task, so that `done` is still here if the queue is full.
  auto shared_done = std::make_shared<std::function<void(Outcome)>>(std::move(done));
  HashPool::Task task;
  task.place = {credentials.source, std::hash<std::string>{}(*credentials.user_name)};
  task.refuse = [tables, shared_done] { (*shared_done)(tables->Refuse(AuthCode::kServerBusy)); };
  task.run = [tables, credentials = std::move(credentials), verified = verified_,
              shared_done]() mutable {
    const std::string& user_name = *credentials.user_name;
    std::string& password = *credentials.password;
    const std::optional<PasswordHash> stored = tables->Verify(user_name, password);
    if (stored.has_value() && verified != nullptr) verified->Add(user_name, password, *stored);
    OPENSSL_cleanse(password.data(), password.size());
    (*shared_done)(stored.has_value() ? tables->Admit(credentials, user_name)
                                      : tables->Refuse(AuthCode::kBadUserNameOrPassword));
  };
  if (pool_->Submit(std::move(task), &ticket) != HashPool::Submitted::kAccepted) {
    (*shared_done)(tables->Refuse(AuthCode::kServerBusy));
  }
  return ticket;
}

Outcome Authenticator::AdmitAs(const Credentials& credentials, std::string_view user_name) const {
  return tables()->Admit(credentials, user_name);
}

std::shared_ptr<const Permissions> Authenticator::PermissionsFor(const Identity& identity) const {
  return tables()->PermissionsFor(identity);
}

bool Authenticator::StillAdmits(const Identity& identity) const {
  const auto tables = this->tables();
  // In the order of Decide.
  if (tables->options.use_identity_as_username != CertificateIdentity::kNone) {
    return identity.certificate &&
           UserNameFrom(*identity.certificate, tables->options.use_identity_as_username) ==
               identity.user_name;
  }
  if (identity.anonymous) return tables->options.allow_anonymous;
  return tables->HasUser(identity.user_name);
}

std::shared_ptr<const Permissions> Authenticator::PermissionsOfAbsent(
    std::string_view user_name, std::string_view client_id) const {
  const auto tables = this->tables();
  Identity identity;
  identity.user_name = std::string(user_name);
  identity.client_id = std::string(client_id);
  identity.anonymous = user_name.empty();
  const bool has_account =
      tables->options.use_identity_as_username != CertificateIdentity::kNone ? !identity.anonymous
      : identity.anonymous ? tables->options.allow_anonymous
                           : !tables->VerifiesPasswords() || tables->HasUser(user_name);
  return has_account ? tables->PermissionsFor(identity) : nullptr;
}

Authenticator::Summary Authenticator::Summarize(std::string_view user_name) const {
  const auto tables = this->tables();
  Summary summary;
  summary.password_file = tables->options.password_file;
  summary.acl_file = tables->options.acl_file;
  summary.allow_anonymous = tables->options.allow_anonymous;
  if (tables->passwords != nullptr) {
    summary.users = tables->passwords->size();
    summary.knows_user = tables->passwords->Contains(user_name);
  }
  return summary;
}

std::vector<std::string> Authenticator::warnings() const { return tables()->warnings; }

}  // namespace auth
