// Decides whether a CONNECT is let in, and as whom.
#ifndef AUTH_AUTHENTICATOR_H_
#define AUTH_AUTHENTICATOR_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "auth/core/acl.h"
#include "auth/core/auth_code.h"
#include "auth/core/identity.h"
#include "auth/core/login.h"
#include "auth/core/permissions.h"
#include "auth/hash_pool.h"
#include "auth/options.h"
#include "auth/run_time_access.h"
#include "auth/verified_logins.h"
#include "base/mutex.h"

namespace auth {

class PasswordTable;

// Every function may be called on any thread; none but `Create` and `Reload` touches the disk.
// Tables are immutable and swapped whole; nothing survives a crash but the files.
class Authenticator {
 public:
  // Reads the files. `pool`, `verified` and `run_time` may be shared by several authenticators;
  // without a pool it makes its own, without `verified` every login is hashed, without `run_time`
  // there are only the files. Errors: those of the files, each with "FILE:LINE" where there is one.
  static absl::StatusOr<std::unique_ptr<Authenticator>> Create(
      AuthOptions options, std::shared_ptr<HashPool> pool = nullptr,
      std::shared_ptr<VerifiedLogins> verified = nullptr,
      std::shared_ptr<const RunTimeAccess> run_time = nullptr);
  // The same with what `Load` has read.
  struct Tables;
  static std::unique_ptr<Authenticator> With(std::shared_ptr<Tables> loaded,
                                             std::shared_ptr<HashPool> pool,
                                             std::shared_ptr<VerifiedLogins> verified,
                                             std::shared_ptr<const RunTimeAccess> run_time);

  // Pending verifications finish or are dropped with the pool; either way they do not touch `this`.
  ~Authenticator();
  Authenticator(const Authenticator&) = delete;
  Authenticator& operator=(const Authenticator&) = delete;

  // The outcome if it takes no hashing (anonymous, certificate, verified a while ago, refused
  // without looking), else nullopt: then call `Authenticate`.
  std::optional<Outcome> TryNow(const Credentials& credentials) const;

  // Calls `done` exactly once, unless the ticket that it returns, or the pool, is destroyed first:
  // at once on the calling thread when there is nothing to hash or the queue is full (kServerBusy),
  // else on a pool thread, or (kServerBusy) on that of somebody who needs its place in the queue
  // more. `done` must not block; it posts the outcome to its shard.
  [[nodiscard]] HashPool::Ticket Authenticate(Credentials credentials,
                                              std::function<void(Outcome)> done);

  // For an authentication method (method.h) that established `user_name` (empty: anonymous).
  Outcome AdmitAs(const Credentials& credentials, std::string_view user_name) const;

  // The permissions under the rules now in force. After a reload a connection asks when it sees
  // that `generation` changed.
  std::shared_ptr<const Permissions> PermissionsFor(const Identity& identity) const;
  uint64_t generation() const {
    return generation_.load(std::memory_order_acquire) + run_time_->generation();
  }

  // Whether the identity, let in earlier, would still have an account: false once its user was
  // removed from wherever it stood, or it is anonymous and that is no longer allowed.
  bool StillAdmits(const Identity& identity) const;

  // What somebody may do who need not be connected (any more); null if nothing, because there is no
  // such account any more: the will of a user who was removed from the password file is not
  // published.
  std::shared_ptr<const Permissions> PermissionsOfAbsent(std::string_view user_name,
                                                         std::string_view client_id) const;

  // Reads the files again, under `options` if given (the pool stays as it is). On error nothing
  // changes. Blocks on the disk: not on a shard. In two steps where it must be known that nothing
  // else has a mistake either, before any of it takes effect.
  absl::Status Reload() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Reload(AuthOptions options) ABSL_LOCKS_EXCLUDED(mutex_);
  static absl::StatusOr<std::shared_ptr<Tables>> Load(AuthOptions options);
  void Use(std::shared_ptr<Tables> loaded) ABSL_LOCKS_EXCLUDED(mutex_);

  // Of the last successful load.
  AuthOptions options() const;

  // What the options and files say, without what was set at run time; and of one user.
  struct Summary {
    std::string password_file;
    size_t users = 0;
    std::string acl_file;
    bool allow_anonymous = false;
    bool knows_user = false;
  };
  Summary Summarize(std::string_view user_name) const;

  // Of the last successful load, for the log.
  std::vector<std::string> warnings() const;

  const HashPool& pool() const { return *pool_; }

 private:
  Authenticator(std::shared_ptr<HashPool> pool, std::shared_ptr<VerifiedLogins> verified,
                std::shared_ptr<const RunTimeAccess> run_time)
      : pool_(std::move(pool)), verified_(std::move(verified)), run_time_(std::move(run_time)) {}
  static std::optional<Outcome> Decide(const Tables& tables, const Credentials& credentials);
  std::shared_ptr<const Tables> tables() const ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<HashPool> pool_;
  const std::shared_ptr<VerifiedLogins> verified_;  // Null: none is remembered.
  const std::shared_ptr<const RunTimeAccess> run_time_;
  std::atomic<uint64_t> generation_{0};
  mutable base::Mutex mutex_;
  std::shared_ptr<const Tables> tables_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace auth

#endif  // AUTH_AUTHENTICATOR_H_
