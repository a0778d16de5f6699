#include "broker/shard/access_refresh.h"

#include "broker/shard/listener_terms.h"

namespace broker {

bool RefreshPermissions(ShardContext& context, Connection& connection) {
  Session* const session = connection.session.get();
  if (session == nullptr) return true;
  const Gatekeeper& gatekeeper = *connection.listener.gatekeeper;
  const auth::Identity identity = session->IdentityOn(connection.listener.name);
  if (gatekeeper.StillAdmits(identity)) {
    session->permissions = gatekeeper.PermissionsFor(identity);
    return true;
  }
  context.CloseLater(
      connection, {.cause = CloseCause::kAdministrative, .say = mqtt::ReasonCode::kNotAuthorized});
  return false;
}

void RenewReaders(ShardContext& context) {
  context.router.RenewReaders(
      [&context](const storage::SessionUser& user) { return context.ReaderOf(user); });
}

}  // namespace broker
