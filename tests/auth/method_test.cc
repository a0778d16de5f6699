#include "auth/core/method.h"

#include <memory>
#include <string>

#include "auth/authenticator.h"
#include "gtest/gtest.h"
#include "tests/support/challenge_method.h"

namespace auth {
namespace {

using Kind = AuthStep::Kind;

AuthMethodRegistry WithChallenge() {
  AuthMethodRegistry registry;
  registry.Register(std::string(support::ChallengeMethod::kName),
                    [] { return std::make_unique<support::ChallengeMethod>("42"); });
  return registry;
}

TEST(AuthMethodRegistry, HasOnlyWhatWasRegistered) {
  EXPECT_TRUE(AuthMethodRegistry().empty());
  EXPECT_EQ(AuthMethodRegistry().Create("TEST-CHALLENGE"), nullptr);
  const AuthMethodRegistry registry = WithChallenge();
  EXPECT_FALSE(registry.empty());
  EXPECT_EQ(registry.Create("test-challenge"), nullptr);  // Names are compared exactly.
  ASSERT_NE(registry.Create("TEST-CHALLENGE"), nullptr);
  EXPECT_EQ(registry.Create("TEST-CHALLENGE")->name(), "TEST-CHALLENGE");
}

TEST(AuthMethodRegistry, EachExchangeHasAStateOfItsOwn) {
  const AuthMethodRegistry registry = WithChallenge();
  const auto first = registry.Create("TEST-CHALLENGE");
  const auto second = registry.Create("TEST-CHALLENGE");
  const Credentials credentials;
  EXPECT_EQ(first->Start(credentials, "alice").kind, Kind::kContinue);
  EXPECT_EQ(second->Start(credentials, "bob").kind, Kind::kContinue);
  EXPECT_EQ(first->Step("42").user_name, "alice");
  EXPECT_EQ(second->Step("42").user_name, "bob");
}

TEST(AuthMethod, AnExchangeContinuesAndEndsInOkOrFail) {
  const AuthMethodRegistry registry = WithChallenge();
  const Credentials credentials;
  EXPECT_EQ(registry.Create("TEST-CHALLENGE")->Start(credentials, "").kind, Kind::kFail);
  EXPECT_EQ(registry.Create("TEST-CHALLENGE")->Start(credentials, "trusted").kind, Kind::kOk);
  const auto exchange = registry.Create("TEST-CHALLENGE");
  const AuthStep challenge = exchange->Start(credentials, "alice");
  EXPECT_EQ(challenge.kind, Kind::kContinue);
  EXPECT_EQ(challenge.data, "42");
  const AuthStep wrong = exchange->Step("43");
  EXPECT_EQ(wrong.kind, Kind::kFail);
  EXPECT_EQ(wrong.code, AuthCode::kBadUserNameOrPassword);
}

TEST(AuthMethodRegistryDeathTest, TwoMethodsOfOneNameAreAProgrammingError) {
  AuthMethodRegistry registry = WithChallenge();
  EXPECT_DEATH(registry.Register("TEST-CHALLENGE", nullptr), "two authentication methods");
}

}  // namespace
}  // namespace auth
