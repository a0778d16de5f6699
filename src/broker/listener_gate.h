// A listener's Gatekeeper: its limits on addresses, and who its password file and rules let in.
#ifndef BROKER_LISTENER_GATE_H_
#define BROKER_LISTENER_GATE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "auth/authenticator.h"
#include "auth/run_time_access.h"
#include "broker/shard/listener_terms.h"
#include "broker/transport/listener.h"
#include "storage/core/partition_api.h"

namespace broker {

// Any thread. Outlives the shards' connections.
class ListenerGate final : public Gatekeeper {
 public:
  // Called on a thread of the hash pool, or on the shard's own.
  using Tell = std::function<void(const storage::ConnectionRef&, auth::Outcome)>;

  ListenerGate(std::shared_ptr<Listener> listener,
               std::shared_ptr<auth::Authenticator> authenticator,
               std::shared_ptr<const auth::RunTimeAccess> run_time, Tell tell)
      : listener_(std::move(listener)),
        authenticator_(std::move(authenticator)),
        run_time_(std::move(run_time)),
        tell_(std::move(tell)) {}

  Admission AdmitProxied(const std::string& address, int64_t now_ns) override;
  std::shared_ptr<const auth::BanTable> bans() const override { return run_time_->ban_table(); }
  std::optional<auth::Outcome> TryNow(const auth::Credentials& credentials) const override;
  std::unique_ptr<PasswordCheck> Verify(const storage::ConnectionRef& connection,
                                        auth::Credentials credentials,
                                        const std::string& address) override;
  auth::Outcome AdmitAs(const auth::Credentials& credentials,
                        std::string_view user_name) const override;
  std::shared_ptr<const auth::Permissions> PermissionsFor(
      const auth::Identity& identity) const override;
  uint64_t generation() const override { return authenticator_->generation(); }
  bool StillAdmits(const auth::Identity& identity) const override;

 private:
  const std::shared_ptr<Listener> listener_;
  const std::shared_ptr<auth::Authenticator> authenticator_;
  const std::shared_ptr<const auth::RunTimeAccess> run_time_;
  const Tell tell_;
};

}  // namespace broker
#endif  // BROKER_LISTENER_GATE_H_
