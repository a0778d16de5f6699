// Enhanced authentication (§4.12 of MQTT 5.0): the seam for challenge and response methods.
#ifndef AUTH_CORE_METHOD_H_
#define AUTH_CORE_METHOD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "auth/core/auth_code.h"
#include "auth/core/string_map.h"

namespace auth {

struct Credentials;

// What the server does next in an exchange.
struct AuthStep {
  enum class Kind : uint8_t {
    kContinue,  // AUTH 0x18 with `data`; the client's AUTH goes to `Step`.
    kOk,        // CONNACK (or AUTH 0x00 on re-authentication) with `data`.
    kFail,      // CONNACK (or DISCONNECT) with `code`.
  };
  Kind kind = Kind::kFail;
  std::string data{};       // Authentication Data; empty: the property is left out.
  std::string user_name{};  // If kOk: who the client is; empty: anonymous.
  AuthCode code = AuthCode::kNotAuthorized;  // If kFail; never kOk.
};

// One exchange of one connection: made at CONNECT or at re-authentication, owned and used by that
// connection on its shard, dropped at kOk or kFail. Does not block.
class AuthMethod {
 public:
  virtual ~AuthMethod() = default;

  // The Authentication Method, exactly as the client names it.
  virtual std::string_view name() const = 0;

  // `data` is the Authentication Data of CONNECT, or of the AUTH 0x19 that begins a
  // re-authentication; empty if the property was absent.
  virtual AuthStep Start(const Credentials& credentials, std::string_view data) = 0;

  // `data` is that of the client's AUTH 0x18. Only after a kContinue.
  virtual AuthStep Step(std::string_view data) = 0;
};

// The methods that this broker offers, filled at start and then only read, from any thread.
class AuthMethodRegistry {
 public:
  using Factory = std::function<std::unique_ptr<AuthMethod>()>;

  // A second factory of a name is a programming error (CHECK).
  void Register(std::string name, Factory factory);

  // A new exchange, or null if there is no such method: the answer is then 0x8C [MQTT5-4.12.0-1].
  std::unique_ptr<AuthMethod> Create(std::string_view name) const;

  bool empty() const { return factories_.empty(); }

 private:
  StringMap<Factory> factories_;
};

}  // namespace auth

#endif  // AUTH_CORE_METHOD_H_
