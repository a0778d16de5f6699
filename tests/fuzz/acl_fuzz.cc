// The files of access control: any text is parsed or refused, and what was parsed decides without
// contradicting itself. The first byte selects the parser; for an ACL, the first line is the client
// (user name, client id, topic, separated by tabs) and the rest is the file.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "auth/core/acl.h"
#include "auth/password_file.h"
#include "base/check.h"
#include "mqtt/topic.h"

namespace {

std::string_view TakeUntil(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view taken = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return taken;
}

void FuzzAcl(std::string_view text) {
  std::string_view client = TakeUntil(text, '\n');
  auth::Identity identity;
  identity.user_name = std::string(TakeUntil(client, '\t'));
  identity.anonymous = identity.user_name.empty();
  identity.client_id = std::string(TakeUntil(client, '\t'));
  const std::string_view topic = client;

  const auto acl = auth::Acl::Parse(text, "acl");
  if (!acl.ok()) {
    CHECK(std::string(acl.status().message()).rfind("acl:", 0) == 0) << acl.status();
    return;
  }
  const auto permissions = (*acl)->PermissionsFor(identity);
  if (mqtt::IsValidTopicName(topic)) {
    const bool may_read = permissions->MayRead(topic);
    (void)permissions->MayWrite(topic);
    // A name is a filter too, and the only name it matches is itself.
    if (may_read && !mqtt::IsShared(topic)) {
      CHECK(permissions->MaySubscribe(topic)) << "may read " << topic << " but not subscribe";
    }
  }
  if (mqtt::IsValidTopicFilter(topic)) (void)permissions->MaySubscribe(topic);
}

void FuzzPasswords(std::string_view text) {
  // Parsed only: verifying would spend its time in the hash functions.
  const auto table = auth::PasswordTable::Parse(text, "users");
  if (!table.ok()) {
    CHECK(std::string(table.status().message()).rfind("users:", 0) == 0) << table.status();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'p') {
    FuzzPasswords(text);
  } else {
    FuzzAcl(text);
  }
  return 0;
}
