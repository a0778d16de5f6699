// SCRAM-SHA-256 for clients of the embedded broker.
//
//   options.hooks.authentication_methods["SCRAM-SHA-256"] = mqttd::ScramSha256Method(
//       [](const std::string& user) { return KeysOf(user); });   // client::DeriveScramKeys, once
#ifndef EMBED_SCRAM_H_
#define EMBED_SCRAM_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "client/scram.h"
#include "embed/hooks.h"

namespace mqttd {

// Nothing: there is no such user. On the thread that serves the connection: must not block.
using ScramLookup = std::function<std::optional<client::ScramKeys>(const std::string& user_name)>;

// What a name that is no user's is asked with, so that it looks as if it were one's.
struct ScramOfNobody {
  // As the users' keys have it. 0: as those of the first user that is found.
  uint32_t iterations = 0;
  size_t salt_bytes = 0;  // Likewise. At most 32.
  // Makes the salts. One that is the same at each start, and nobody knows: without it these salts
  // are others then, and users' are not.
  std::string secret = {};
};

// A user that does not exist goes through the same steps, with a salt that stays the same, and
// fails with the last: who asks does not learn which users there are, if all of them have as many
// iterations and salts as long. There is no channel binding, and nobody may act for another user.
AuthMethod ScramSha256Method(ScramLookup find, ScramOfNobody nobody = {});

}  // namespace mqttd

#endif  // EMBED_SCRAM_H_
