// An authentication method for tests of the exchange: the client must send the challenge back.
#ifndef TESTS_SUPPORT_CHALLENGE_METHOD_H_
#define TESTS_SUPPORT_CHALLENGE_METHOD_H_

#include <string>
#include <string_view>
#include <utility>

#include "auth/core/method.h"

namespace support {

// Start takes the user name as Authentication Data and answers with the challenge; Step wants the
// challenge back. Start with no data fails at once; the user "trusted" needs no challenge.
class ChallengeMethod : public auth::AuthMethod {
 public:
  static constexpr std::string_view kName = "TEST-CHALLENGE";

  explicit ChallengeMethod(std::string challenge) : challenge_(std::move(challenge)) {}

  std::string_view name() const override { return kName; }

  auth::AuthStep Start(const auth::Credentials&, std::string_view data) override {
    if (data.empty()) return {.code = auth::AuthCode::kNotAuthorized};
    user_name_ = std::string(data);
    if (user_name_ == "trusted") return Ok();
    return {.kind = auth::AuthStep::Kind::kContinue, .data = challenge_};
  }

  auth::AuthStep Step(std::string_view data) override {
    if (data != challenge_) return {.code = auth::AuthCode::kBadUserNameOrPassword};
    return Ok();
  }

 private:
  auth::AuthStep Ok() const {
    return {.kind = auth::AuthStep::Kind::kOk, .data = "welcome", .user_name = user_name_};
  }

  const std::string challenge_;
  std::string user_name_;
};

}  // namespace support

#endif  // TESTS_SUPPORT_CHALLENGE_METHOD_H_
