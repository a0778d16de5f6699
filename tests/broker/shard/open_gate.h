// Doors without locks, for shards in tests.
#ifndef TESTS_BROKER_SHARD_OPEN_GATE_H_
#define TESTS_BROKER_SHARD_OPEN_GATE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "auth/core/login.h"
#include "auth/core/permissions.h"
#include "base/check.h"
#include "broker/shard/listener_terms.h"
#include "broker/shard/shard_ports.h"

namespace sim {

// Everybody is let in, as nobody in particular, and may do everything but what `rights` says of its
// Client Identifier. While it is `asleep` nobody gets an answer.
class OpenGate final : public broker::Gatekeeper {
 public:
  std::shared_ptr<const auth::BanTable> bans() const override { return ban_table; }
  std::shared_ptr<const auth::BanTable> ban_table;

  Admission AdmitProxied(const std::string&, int64_t) override { return {}; }
  std::optional<auth::Outcome> TryNow(const auth::Credentials& credentials) const override {
    if (asleep) return std::nullopt;
    return AdmitAs(credentials, {});
  }
  std::unique_ptr<broker::PasswordCheck> Verify(const storage::ConnectionRef&, auth::Credentials,
                                                const std::string&) override {
    CHECK(asleep) << "no password is asked for";
    return std::make_unique<broker::PasswordCheck>();
  }
  auth::Outcome AdmitAs(const auth::Credentials& credentials, std::string_view) const override {
    auth::Outcome outcome;
    outcome.code = deserted ? auth::AuthCode::kNotAuthorized : auth::AuthCode::kOk;
    outcome.identity = {.client_id = credentials.client_id, .listener = credentials.listener};
    outcome.permissions = PermissionsFor(outcome.identity);
    return outcome;
  }
  std::shared_ptr<const auth::Permissions> PermissionsFor(
      const auth::Identity& identity) const override {
    const auto known = rights.find(identity.client_id);
    return known == rights.end() ? auth::Permissions::Everything() : known->second;
  }
  uint64_t generation() const override { return changes; }
  bool StillAdmits(const auth::Identity&) const override { return !deserted; }

  std::map<std::string, std::shared_ptr<const auth::Permissions>> rights;
  bool asleep = false;
  bool deserted = false;  // Nobody has an account any more.
  uint64_t changes = 0;   // To be counted up with each change of these.
};

struct NoUserLimits final : broker::UserPlaces {
  bool Enter(const Place&, uint32_t) override { return true; }
  void Leave(const Place&) override {}
};

}  // namespace sim

#endif  // TESTS_BROKER_SHARD_OPEN_GATE_H_
