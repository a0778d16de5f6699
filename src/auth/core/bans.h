// Who is kept away: clients, users and addresses, each until some time or for good.
#ifndef AUTH_CORE_BANS_H_
#define AUTH_CORE_BANS_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "auth/core/string_map.h"

namespace auth {

enum class BanKind : uint8_t { kClient, kUser, kAddress };

// Whom a ban is about: there is one ban for each.
struct BanTarget {
  BanKind kind = BanKind::kClient;
  // A Client Identifier, a user name, or an address or network as AddressRange::ToString has it.
  std::string value;
  friend auto operator<=>(const BanTarget&, const BanTarget&) = default;
};

struct Ban {
  BanTarget target;
  int64_t ends_at_unix_ms = 0;  // 0: never.
  std::string reason;           // For operators.
  std::string by;               // Who set it.
  int64_t set_at_unix_ms = 0;

  bool holds(int64_t now_unix_ms) const {
    return ends_at_unix_ms == 0 || now_unix_ms < ends_at_unix_ms;
  }
};

// An address or network, so that all ways to write one compare equal.
struct AddressRange {
  std::array<unsigned char, 16> bytes{};  // IPv4 as IPv6 has it (::ffff:192.0.2.7).
  uint32_t bits = 128;
  friend auto operator<=>(const AddressRange&, const AddressRange&) = default;

  // "192.0.2.7", "192.0.2.0/24", "2001:db8::/32". Errors: kInvalidArgument, in words.
  static absl::StatusOr<AddressRange> Parse(std::string_view text);
  std::string ToString() const;
  // The network of so many bits that this is in.
  AddressRange Within(uint32_t network_bits) const;
};

// Immutable; a change makes another one.
class BanTable {
 public:
  // Errors: kInvalidArgument: a value is not what its kind says.
  static absl::StatusOr<std::shared_ptr<const BanTable>> Make(std::vector<Ban> bans);

  // What keeps the client away now; null: nothing. Cost: a few look-ups, whatever there are; of
  // networks one for each length of prefix. An `address` that is none (of a unix socket) is in no
  // network.
  const Ban* Find(std::string_view client_id, std::string_view user_name, std::string_view address,
                  int64_t now_unix_ms) const;

 private:
  const Ban* Holding(size_t index, int64_t now_unix_ms) const;

  std::vector<Ban> bans_;
  StringMap<size_t> clients_;
  StringMap<size_t> users_;
  std::map<AddressRange, size_t> addresses_;
  std::vector<uint32_t> prefixes_;  // Lengths that occur.
};

}  // namespace auth

#endif  // AUTH_CORE_BANS_H_
