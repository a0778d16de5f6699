// A listener as the connections that came in through it see it: what holds for them, and who lets
// them in.
#ifndef BROKER_SHARD_LISTENER_TERMS_H_
#define BROKER_SHARD_LISTENER_TERMS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "auth/core/bans.h"
#include "auth/core/identity.h"
#include "auth/core/login.h"
#include "auth/core/permissions.h"
#include "broker/core/limits.h"
#include "broker/core/stream.h"
#include "storage/core/partition_api.h"

namespace broker {

// A password that is being verified on another thread. Whoever lets go of it hears nothing more.
class PasswordCheck {
 public:
  virtual ~PasswordCheck() = default;
};

// Who may come in, and as whom. Implemented beside the shard, over files and threads; any shard's
// thread calls it, and none of it blocks.
class Gatekeeper {
 public:
  virtual ~Gatekeeper() = default;

  enum class Verdict : uint8_t { kAdmitted, kTooMany, kTooFast };
  struct Admission {
    Verdict verdict = Verdict::kAdmitted;
    std::shared_ptr<const void> place;  // Stands for it while it lives. Null: there is no limit.
  };
  // A connection that a proxy passed on, once its header has said whose it is.
  virtual Admission AdmitProxied(const std::string& address, int64_t now_ns) = 0;

  // Who is kept away. Null: nobody.
  virtual std::shared_ptr<const auth::BanTable> bans() const = 0;

  // The outcome, if it takes no hashing; else nullopt: then `Verify`.
  virtual std::optional<auth::Outcome> TryNow(const auth::Credentials& credentials) const = 0;
  // PasswordVerified comes to the connection's shard, once, unless what this returns goes before.
  // Clients from one `address` share their turns.
  virtual std::unique_ptr<PasswordCheck> Verify(const storage::ConnectionRef& connection,
                                                auth::Credentials credentials,
                                                const std::string& address) = 0;
  // An authentication method has established `user_name` (empty: anonymous).
  virtual auth::Outcome AdmitAs(const auth::Credentials& credentials,
                                std::string_view user_name) const = 0;

  // Under the rules now in force.
  virtual std::shared_ptr<const auth::Permissions> PermissionsFor(
      const auth::Identity& identity) const = 0;
  // Grows with each change of rules or accounts.
  virtual uint64_t generation() const = 0;
  // Whether who was let in earlier would still have an account.
  virtual bool StillAdmits(const auth::Identity& identity) const = 0;
};

// Immutable; shared by all shards, and lives as long as the connections that were made with it. A
// reload makes another one, for new connections.
struct ListenerTerms {
  size_t index = 0;
  std::string name;  // For logs, access rules, and sessions' wills.
  Limits limits;
  bool tls = false;
  bool websocket = false;
  bool inside = false;  // Of the process itself: hooks are not asked about its connections.
  std::shared_ptr<Gatekeeper> gatekeeper;
};

}  // namespace broker
#endif  // BROKER_SHARD_LISTENER_TERMS_H_
