// SCRAM-SHA-256 for clients of the embedded broker.
//
//   options.hooks.authentication_methods["SCRAM-SHA-256"] = mqttd::ScramSha256Method(
//       [](const std::string& user) { return KeysOf(user); });   // client::DeriveScramKeys, once
#ifndef EMBED_SCRAM_H_
#define EMBED_SCRAM_H_

#include <functional>
#include <optional>
#include <string>

#include "client/scram.h"
#include "embed/hooks.h"

namespace mqttd {

// Nothing: there is no such user. On the thread that serves the connection: must not block.
using ScramLookup = std::function<std::optional<client::ScramKeys>(const std::string& user_name)>;

// A user that does not exist goes through the same steps, with a salt that stays the same, and
// fails with the last: who asks does not learn which users there are. There is no channel binding,
// and nobody may act for another user.
AuthMethod ScramSha256Method(ScramLookup find);

}  // namespace mqttd

#endif  // EMBED_SCRAM_H_
