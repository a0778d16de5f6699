#include "auth/authenticator.h"

#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "auth/password_hash.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace auth {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Credentials Login(std::string user_name, std::string password) {
  Credentials credentials;
  credentials.client_id = "c1";
  credentials.listener = "tcp";
  credentials.user_name = std::move(user_name);
  credentials.password = std::move(password);
  return credentials;
}

Credentials NoCredentials() {
  Credentials credentials;
  credentials.client_id = "c1";
  credentials.listener = "tcp";
  return credentials;
}

class AuthenticatorTest : public testing::Test {
 protected:
  std::string WriteFile(const std::string& name, const std::string& text) {
    const std::string path = absl::StrCat(dir_.path(), "/", name);
    std::ofstream(path, std::ios::trunc) << text;
    return path;
  }

  std::string WriteUsers(const std::vector<std::pair<std::string, std::string>>& users) {
    std::string text;
    for (const auto& [name, password] : users) {
      const auto hash =
          HashPassword(HashAlgorithm::kPbkdf2HmacSha512, password, {.pbkdf2_iterations = 2});
      EXPECT_TRUE(hash.ok());
      absl::StrAppend(&text, name, ":", *hash, "\n");
    }
    return WriteFile("users", text);
  }

  std::unique_ptr<Authenticator> Make(AuthOptions options,
                                      std::shared_ptr<HashPool> pool = nullptr) {
    auto authenticator = Authenticator::Create(std::move(options), std::move(pool));
    EXPECT_TRUE(authenticator.ok()) << authenticator.status();
    return authenticator.ok() ? *std::move(authenticator) : nullptr;
  }

  static Outcome Run(Authenticator& authenticator, Credentials credentials) {
    std::promise<Outcome> outcome;
    const auto ticket = authenticator.Authenticate(
        std::move(credentials), [&](Outcome o) { outcome.set_value(std::move(o)); });
    return outcome.get_future().get();
  }

  static AuthCode CodeNow(const Authenticator& authenticator, const Credentials& credentials) {
    const auto outcome = authenticator.TryNow(credentials);
    EXPECT_TRUE(outcome.has_value());
    return outcome ? outcome->code : AuthCode::kServerBusy;
  }

  support::TempDir dir_;
};

TEST_F(AuthenticatorTest, AnonymousClientsAreOutUnlessConfigured) {
  EXPECT_EQ(CodeNow(*Make({}), NoCredentials()), AuthCode::kNotAuthorized);
  EXPECT_EQ(CodeNow(*Make({}), Login("alice", "x")), AuthCode::kBadUserNameOrPassword);

  const auto outcome = Make({.allow_anonymous = true})->TryNow(NoCredentials());
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->code, AuthCode::kOk);
  EXPECT_TRUE(outcome->identity.anonymous);
  EXPECT_EQ(outcome->identity.client_id, "c1");
  EXPECT_EQ(outcome->identity.listener, "tcp");
  EXPECT_TRUE(outcome->permissions->ReadsEverything());
}

RunTimeUser UserWith(const std::string& name, const std::string& password) {
  const auto hash =
      HashPassword(HashAlgorithm::kPbkdf2HmacSha512, password, {.pbkdf2_iterations = 2});
  EXPECT_TRUE(hash.ok());
  return {name, *hash, "deploy", 0};
}

TEST_F(AuthenticatorTest, AUserOfRunTimeGoesBeforeTheFileAndWithoutOne) {
  const auto run_time = std::make_shared<RunTimeAccess>();
  const std::string users = WriteUsers({{"bob", "of the file"}});
  const auto make = [&](AuthOptions options) {
    auto made = Authenticator::Create(std::move(options), nullptr, nullptr, run_time);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  };
  const auto with_file = make({.password_file = users});
  const auto open = make({.allow_anonymous = true});
  const auto code = [](Authenticator& at, const char* user, const char* password) {
    return Run(at, Login(user, password)).code;
  };
  EXPECT_EQ(code(*open, "anybody", "x"), AuthCode::kOk);
  const uint64_t before = open->generation();

  ASSERT_TRUE(run_time->SetUser(UserWith("alice", "secret")).ok());
  ASSERT_TRUE(run_time->SetUser(UserWith("bob", "of run time")).ok());
  EXPECT_GT(open->generation(), before);
  for (Authenticator* const at : {with_file.get(), open.get()}) {
    EXPECT_EQ(code(*at, "alice", "secret"), AuthCode::kOk);
    EXPECT_EQ(code(*at, "alice", "x"), AuthCode::kBadUserNameOrPassword);
    EXPECT_EQ(code(*at, "bob", "of run time"), AuthCode::kOk);
    EXPECT_EQ(code(*at, "bob", "of the file"), AuthCode::kBadUserNameOrPassword);
    EXPECT_EQ(code(*at, "anybody", "x"), AuthCode::kBadUserNameOrPassword);
  }
  EXPECT_EQ(CodeNow(*open, NoCredentials()), AuthCode::kOk);
  const Outcome alice = Run(*open, Login("alice", "secret"));
  EXPECT_TRUE(open->StillAdmits(alice.identity));
  EXPECT_NE(open->PermissionsOfAbsent("alice", "c1"), nullptr);

  EXPECT_TRUE(run_time->RemoveUser("alice"));
  EXPECT_FALSE(run_time->RemoveUser("alice"));
  EXPECT_FALSE(open->StillAdmits(alice.identity));
  EXPECT_EQ(open->PermissionsOfAbsent("alice", "c1"), nullptr);
  EXPECT_TRUE(run_time->RemoveUser("bob"));
  EXPECT_EQ(code(*with_file, "bob", "of the file"), AuthCode::kOk);
  EXPECT_EQ(code(*open, "anybody", "x"), AuthCode::kOk);
}

TEST_F(AuthenticatorTest, RulesOfRunTimeHoldWithAFileAndWithoutOne) {
  const auto run_time = std::make_shared<RunTimeAccess>();
  const auto make = [&](AuthOptions options) {
    auto made = Authenticator::Create(std::move(options), nullptr, nullptr, run_time);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  };
  const auto with_file =
      make({.allow_anonymous = true, .acl_file = WriteFile("acl", "topic read a\n")});
  const auto open = make({.allow_anonymous = true});
  Identity nobody;
  nobody.client_id = "c1";
  const auto reads = [&](const Authenticator& at, const char* topic) {
    return at.PermissionsFor(nobody)->MayRead(topic);
  };
  EXPECT_EQ(open->PermissionsFor(nobody), Permissions::Everything());

  RunTimeRule rule{RuleFor::kAnonymous, "", "b", kRuleRead, "", 0};
  EXPECT_TRUE(run_time->AddRule(rule));
  EXPECT_FALSE(run_time->AddRule(rule));
  EXPECT_TRUE(run_time->AddRule({RuleFor::kEveryone, "", "%c/x", kRuleDeny, "", 0}));
  EXPECT_TRUE(run_time->AddRule({RuleFor::kUser, "alice", "c", kRuleRead, "", 0}));
  EXPECT_TRUE(reads(*with_file, "a") && reads(*with_file, "b"));
  EXPECT_FALSE(reads(*with_file, "c") || reads(*with_file, "c1/x"));
  EXPECT_TRUE(reads(*open, "a") && reads(*open, "c") && reads(*open, "$SYS/x"));
  EXPECT_FALSE(reads(*open, "c1/x"));
  run_time->DenyByDefault(true);
  EXPECT_TRUE(reads(*open, "b"));
  EXPECT_FALSE(reads(*open, "a") || reads(*open, "$SYS/x"));
  run_time->DenyByDefault(false);
  EXPECT_TRUE(run_time->RemoveRule(rule.key()));
  EXPECT_FALSE(reads(*with_file, "b"));
}

TEST_F(AuthenticatorTest, AUserNameThatNobodyVerifiesGivesNoRights) {
  const std::string acl =
      WriteFile("acl", "topic read public\nuser admin\ntopic #\npattern u/%u\n");
  const auto authenticator = Make({.allow_anonymous = true, .acl_file = acl});
  const auto outcome = authenticator->TryNow(Login("admin", "x"));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->code, AuthCode::kOk);
  EXPECT_TRUE(outcome->identity.anonymous);
  EXPECT_EQ(outcome->identity.user_name, "");
  EXPECT_TRUE(outcome->permissions->MayRead("public"));
  EXPECT_FALSE(outcome->permissions->MayRead("anything"));
  EXPECT_FALSE(outcome->permissions->MayRead("u/admin"));
  EXPECT_THAT(authenticator->warnings(), ElementsAre(HasSubstr("nothing verifies user names")));
}

TEST_F(AuthenticatorTest, PasswordsAreVerifiedOnThePoolsThread) {
  const auto authenticator = Make({.password_file = WriteUsers({{"alice", "secret"}})});
  EXPECT_FALSE(authenticator->TryNow(Login("alice", "secret")).has_value());

  std::promise<std::pair<Outcome, std::thread::id>> result;
  const auto ticket = authenticator->Authenticate(Login("alice", "secret"), [&](Outcome outcome) {
    result.set_value({std::move(outcome), std::this_thread::get_id()});
  });
  const auto [outcome, thread] = result.get_future().get();
  EXPECT_NE(thread, std::this_thread::get_id());
  EXPECT_EQ(outcome.code, AuthCode::kOk);
  EXPECT_EQ(outcome.identity.user_name, "alice");
  EXPECT_FALSE(outcome.identity.anonymous);
  ASSERT_NE(outcome.permissions, nullptr);
  EXPECT_EQ(outcome.generation, authenticator->generation());

  EXPECT_EQ(Run(*authenticator, Login("alice", "wrong")).code, AuthCode::kBadUserNameOrPassword);
  EXPECT_EQ(Run(*authenticator, Login("bob", "secret")).code, AuthCode::kBadUserNameOrPassword);
  EXPECT_EQ(Run(*authenticator, Login("", "")).code, AuthCode::kBadUserNameOrPassword);
}

TEST_F(AuthenticatorTest, AUserNameWithoutPasswordIsRefusedWithoutHashing) {
  const auto authenticator =
      Make({.allow_anonymous = true, .password_file = WriteUsers({{"alice", "secret"}})});
  Credentials credentials = Login("alice", "");
  credentials.password.reset();
  EXPECT_EQ(CodeNow(*authenticator, credentials), AuthCode::kBadUserNameOrPassword);
}

TEST_F(AuthenticatorTest, AnonymousAndPasswordsMayGoTogether) {
  const auto authenticator =
      Make({.allow_anonymous = true, .password_file = WriteUsers({{"alice", "secret"}})});
  EXPECT_EQ(CodeNow(*authenticator, NoCredentials()), AuthCode::kOk);
  // A name that is claimed must be proved: no way round as anonymous.
  EXPECT_EQ(Run(*authenticator, Login("bob", "x")).code, AuthCode::kBadUserNameOrPassword);
}

TEST_F(AuthenticatorTest, ACertificateNamesTheUserAndNothingElseDoes) {
  const std::string users = WriteUsers({{"alice", "secret"}});
  CertificateFields certificate;
  certificate.common_name = "sensor-7";
  certificate.subject_dn = "CN=sensor-7,O=Example";
  certificate.uris = {"urn:dev:7"};
  certificate.email_addresses = {"seven@example.org"};
  Credentials credentials = Login("alice", "secret");

  for (const auto& [which, name] : {std::pair(CertificateIdentity::kCn, "sensor-7"),
                                    std::pair(CertificateIdentity::kDn, "CN=sensor-7,O=Example"),
                                    std::pair(CertificateIdentity::kSan, "urn:dev:7")}) {
    const auto authenticator =
        Make({.allow_anonymous = true, .password_file = users, .use_identity_as_username = which});
    credentials.certificate = certificate;
    const auto outcome = authenticator->TryNow(credentials);
    ASSERT_TRUE(outcome.has_value());
    EXPECT_EQ(outcome->code, AuthCode::kOk);
    EXPECT_EQ(outcome->identity.user_name, name);
    EXPECT_FALSE(outcome->identity.anonymous);

    credentials.certificate = CertificateFields();  // Without the field.
    EXPECT_EQ(CodeNow(*authenticator, credentials), AuthCode::kNotAuthorized);
    credentials.certificate.reset();
    EXPECT_EQ(CodeNow(*authenticator, credentials), AuthCode::kNotAuthorized);
  }
}

TEST_F(AuthenticatorTest, AFullPoolAnswersBusyAtOnce) {
  auto pool = std::make_shared<HashPool>(HashPool::Limits{.threads = 1, .queue_max = 0});
  const auto authenticator = Make({.password_file = WriteUsers({{"alice", "secret"}})}, pool);
  AuthCode code = AuthCode::kOk;
  const auto ticket =
      authenticator->Authenticate(Login("alice", "secret"), [&](Outcome o) { code = o.code; });
  EXPECT_EQ(code, AuthCode::kServerBusy);
  EXPECT_EQ(authenticator->pool().refused(), 1u);
}

TEST_F(AuthenticatorTest, AVerificationOutlivesItsAuthenticator) {
  auto pool = std::make_shared<HashPool>(HashPool::Limits{.threads = 1, .queue_max = 8});
  std::promise<void> open;
  ASSERT_EQ(pool->Submit({[&] { open.get_future().wait(); }}), HashPool::Submitted::kAccepted);
  auto authenticator = Make({.password_file = WriteUsers({{"alice", "secret"}})}, pool);
  std::promise<AuthCode> code;
  const auto ticket = authenticator->Authenticate(Login("alice", "secret"),
                                                  [&](Outcome o) { code.set_value(o.code); });
  authenticator.reset();
  open.set_value();
  EXPECT_EQ(code.get_future().get(), AuthCode::kOk);
}

TEST_F(AuthenticatorTest, ReloadSwapsRulesAndConnectionsKeepTheirsUntilTheyAsk) {
  const std::string users = WriteUsers({{"alice", "secret"}, {"bob", "secret"}});
  const std::string acl = WriteFile("acl", "user alice\ntopic read a\n");
  const auto authenticator = Make({.password_file = users, .acl_file = acl});
  const Outcome alice = Run(*authenticator, Login("alice", "secret"));
  const Outcome bob = Run(*authenticator, Login("bob", "secret"));
  EXPECT_TRUE(alice.permissions->MayRead("a"));

  WriteUsers({{"alice", "changed"}});
  WriteFile("acl", "user alice\ntopic read b\n");
  ASSERT_TRUE(authenticator->Reload().ok());
  EXPECT_NE(authenticator->generation(), alice.generation);
  EXPECT_TRUE(alice.permissions->MayRead("a"));
  const auto fresh = authenticator->PermissionsFor(alice.identity);
  EXPECT_FALSE(fresh->MayRead("a"));
  EXPECT_TRUE(fresh->MayRead("b"));
  EXPECT_TRUE(authenticator->StillAdmits(alice.identity));
  EXPECT_FALSE(authenticator->StillAdmits(bob.identity));
  EXPECT_EQ(Run(*authenticator, Login("alice", "changed")).code, AuthCode::kOk);
  EXPECT_EQ(Run(*authenticator, Login("alice", "secret")).code, AuthCode::kBadUserNameOrPassword);
}

TEST_F(AuthenticatorTest, AReloadThatFailsChangesNothing) {
  const std::string acl = WriteFile("acl", "topic read a\n");
  const auto authenticator = Make({.allow_anonymous = true, .acl_file = acl});
  const uint64_t generation = authenticator->generation();
  WriteFile("acl", "topic read b\ntopik c\n");
  const absl::Status status = authenticator->Reload();
  EXPECT_THAT(std::string(status.message()), HasSubstr(acl + ":2: unknown keyword 'topik'"));
  EXPECT_EQ(authenticator->generation(), generation);
  EXPECT_TRUE(authenticator->TryNow(NoCredentials())->permissions->MayRead("a"));
}

// A + or # in a name that is put into patterns would widen them, so that such a name gets nothing
// from them: but is not rid of what they deny.
TEST_F(AuthenticatorTest, WhatIsDeniedToEveryoneIsDeniedWhateverTheClientCallsItself) {
  const auto run_time = std::make_shared<RunTimeAccess>();
  run_time->AddRule({.who = RuleFor::kEveryone, .filter = "admin/#", .bits = kRuleDeny});
  run_time->AddRule({.who = RuleFor::kEveryone, .filter = "of/%c", .bits = kRuleDeny});
  run_time->AddRule(
      {.who = RuleFor::kEveryone, .filter = "open/#", .bits = kRuleRead | kRuleWrite});
  for (const bool denies_by_default : {false, true}) {
    run_time->DenyByDefault(denies_by_default);
    const auto authenticator =
        Authenticator::Create({.allow_anonymous = true}, nullptr, nullptr, run_time);
    ASSERT_TRUE(authenticator.ok());
    for (const std::string name : {"plain", "a+b", "x#", "#", "+"}) {
      Credentials credentials = NoCredentials();
      credentials.client_id = name;
      const auto permissions = (*authenticator)->TryNow(credentials)->permissions;
      EXPECT_FALSE(permissions->MayWrite("admin/a")) << name;
      EXPECT_FALSE(permissions->MayRead("admin/a")) << name;
      EXPECT_FALSE(permissions->MaySubscribe("admin/#")) << name;
      EXPECT_TRUE(permissions->Denies("admin/a")) << name;
      EXPECT_FALSE((*authenticator)->PermissionsOfAbsent("", name)->MayRead("admin/a")) << name;
      EXPECT_EQ(permissions->MayWrite("other"), !denies_by_default) << name;
      EXPECT_EQ(permissions->MaySubscribe("of/others"), !denies_by_default) << name;
      EXPECT_EQ(permissions->MayWrite("open/a"), !denies_by_default || name == "plain") << name;
      EXPECT_EQ(permissions->MaySubscribe("open/#"), !denies_by_default || name == "plain") << name;
    }
  }
}

TEST_F(AuthenticatorTest, ReloadMayBringNewOptions) {
  const auto authenticator = Make({.allow_anonymous = true});
  const Outcome outcome = *authenticator->TryNow(NoCredentials());
  EXPECT_TRUE(authenticator->StillAdmits(outcome.identity));
  ASSERT_TRUE(authenticator->Reload(AuthOptions{}).ok());
  EXPECT_EQ(CodeNow(*authenticator, NoCredentials()), AuthCode::kNotAuthorized);
  EXPECT_FALSE(authenticator->StillAdmits(outcome.identity));
}

TEST_F(AuthenticatorTest, WhereCertificatesSayWhoItIsNobodyStaysWithoutOne) {
  const auto authenticator = Make({.allow_anonymous = true});
  const Outcome outcome = *authenticator->TryNow(NoCredentials());
  EXPECT_NE(authenticator->PermissionsOfAbsent("", "c1"), nullptr);
  ASSERT_TRUE(
      authenticator
          ->Reload({.allow_anonymous = true, .use_identity_as_username = CertificateIdentity::kCn})
          .ok());
  EXPECT_EQ(CodeNow(*authenticator, NoCredentials()), AuthCode::kNotAuthorized);
  EXPECT_FALSE(authenticator->StillAdmits(outcome.identity));
  EXPECT_EQ(authenticator->PermissionsOfAbsent("", "c1"), nullptr);
  EXPECT_NE(authenticator->PermissionsOfAbsent("ann", "c1"), nullptr);
}

TEST_F(AuthenticatorTest, AVerifiedLoginIsRememberedForAWhileAndForgottenWithItsPassword) {
  support::FakeClock clock;
  const auto verified =
      std::make_shared<VerifiedLogins>(VerifiedLogins::Limits{.kept_s = 60}, clock);
  const std::string users = WriteUsers({{"alice", "secret"}, {"bob", "secret"}});
  auto created = Authenticator::Create({.password_file = users}, nullptr, verified);
  ASSERT_TRUE(created.ok());
  Authenticator& authenticator = **created;
  EXPECT_FALSE(authenticator.TryNow(Login("alice", "secret")).has_value());
  EXPECT_EQ(Run(authenticator, Login("alice", "secret")).code, AuthCode::kOk);
  const auto again = authenticator.TryNow(Login("alice", "secret"));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->code, AuthCode::kOk);
  EXPECT_EQ(again->identity.user_name, "alice");
  EXPECT_FALSE(authenticator.TryNow(Login("alice", "wrong")).has_value());
  EXPECT_FALSE(authenticator.TryNow(Login("bob", "secret")).has_value());
  EXPECT_EQ(Run(authenticator, Login("alice", "wrong")).code, AuthCode::kBadUserNameOrPassword);
  EXPECT_EQ(verified->size(), 1u) << "only what was right is remembered";

  clock.Advance(absl::Seconds(61));
  EXPECT_FALSE(authenticator.TryNow(Login("alice", "secret")).has_value());
  EXPECT_EQ(Run(authenticator, Login("alice", "secret")).code, AuthCode::kOk);
  EXPECT_TRUE(authenticator.TryNow(Login("alice", "secret")).has_value());

  WriteUsers({{"alice", "changed"}});
  ASSERT_TRUE(authenticator.Reload().ok());
  EXPECT_FALSE(authenticator.TryNow(Login("alice", "secret")).has_value());
  EXPECT_EQ(Run(authenticator, Login("alice", "secret")).code, AuthCode::kBadUserNameOrPassword);
}

TEST(VerifiedLogins, AreBoundedTheOldestGoesFirst) {
  support::FakeClock clock;
  VerifiedLogins verified({.logins_max = 2}, clock);
  const auto encoded = HashPassword(HashAlgorithm::kSha512, "x");
  const auto stored = PasswordHash::Parse(*encoded);
  ASSERT_TRUE(stored.ok());
  for (const std::string user : {"a", "b", "b", "c"}) verified.Add(user, "x", *stored);
  EXPECT_EQ(verified.size(), 2u);
  EXPECT_FALSE(verified.Knows("a", "x", *stored));
  EXPECT_TRUE(verified.Knows("b", "x", *stored));
  EXPECT_TRUE(verified.Knows("c", "x", *stored));
  VerifiedLogins none({.logins_max = 0}, clock);
  none.Add("a", "x", *stored);
  EXPECT_FALSE(none.Knows("a", "x", *stored));
}

TEST_F(AuthenticatorTest, FilesThatCannotBeReadAreErrorsAtStart) {
  EXPECT_FALSE(Authenticator::Create({.password_file = dir_.path() + "/none"}).ok());
  EXPECT_FALSE(Authenticator::Create({.acl_file = dir_.path() + "/none"}).ok());
}

TEST_F(AuthenticatorTest, UserNamesBindIdentifiers) {
  const auto id_of = [&](const Authenticator& authenticator, const std::string& user_name,
                         const std::string& client_id, bool assigned = false) {
    Credentials credentials = NoCredentials();
    credentials.client_id = client_id;
    credentials.client_id_assigned = assigned;
    const Outcome outcome = authenticator.AdmitAs(credentials, user_name);
    return outcome.code == AuthCode::kOk
               ? outcome.identity.client_id
               : absl::StrCat("refused ", static_cast<unsigned>(outcome.code));
  };
  const auto any = Make({.allow_anonymous = true});
  EXPECT_EQ(id_of(*any, "alice", "x"), "x");

  const auto by_name = Make({.use_username_as_clientid = true});
  EXPECT_EQ(id_of(*by_name, "alice", "x"), "alice");
  EXPECT_EQ(id_of(*by_name, "", "x"), "refused 135");

  const auto prefixed = Make({.clientid_prefixes = "%u-, gw/"});
  EXPECT_EQ(id_of(*prefixed, "alice", "alice-1"), "alice-1");
  EXPECT_EQ(id_of(*prefixed, "alice", "gw/1"), "gw/1");
  EXPECT_EQ(id_of(*prefixed, "alice", "alice"), "refused 133");
  EXPECT_EQ(id_of(*prefixed, "bob", "alice-1"), "refused 133");
  EXPECT_EQ(id_of(*prefixed, "", "-1"), "refused 133") << "nobody has no name to begin with";
  EXPECT_EQ(id_of(*prefixed, "", "gw/1"), "gw/1");
  EXPECT_EQ(id_of(*prefixed, "alice", "auto", true), "alice-auto");
  EXPECT_EQ(id_of(*prefixed, "", "auto", true), "gw/auto");
}

TEST_F(AuthenticatorTest, WhoIsAwayMayDoWhatTheRulesOfTheMomentSay) {
  const std::string users = WriteUsers({{"alice", "secret"}});
  const std::string acl = WriteFile("acl", "user alice\ntopic a\npattern write own/%c\n");
  const auto authenticator = Make({.password_file = users, .acl_file = acl});
  const auto alice = authenticator->PermissionsOfAbsent("alice", "c1");
  ASSERT_NE(alice, nullptr);
  EXPECT_TRUE(alice->MayWrite("a"));
  EXPECT_TRUE(alice->MayWrite("own/c1"));
  EXPECT_FALSE(alice->MayWrite("own/c2"));
  EXPECT_EQ(authenticator->PermissionsOfAbsent("bob", "c1"), nullptr) << "no user";
  EXPECT_EQ(authenticator->PermissionsOfAbsent("", "c1"), nullptr) << "anonymous clients are out";
  WriteFile("acl", "user alice\ntopic read a\n");
  ASSERT_TRUE(authenticator->Reload().ok());
  EXPECT_FALSE(authenticator->PermissionsOfAbsent("alice", "c1")->MayWrite("a"));
}

TEST_F(AuthenticatorTest, AMethodsUserGetsTheRulesOfThatUser) {
  const std::string acl = WriteFile("acl", "user alice\ntopic read a\n");
  const auto authenticator = Make({.acl_file = acl});
  EXPECT_TRUE(authenticator->AdmitAs(NoCredentials(), "alice").permissions->MayRead("a"));
  EXPECT_FALSE(authenticator->AdmitAs(NoCredentials(), "").permissions->MayRead("a"));
  EXPECT_TRUE(authenticator->AdmitAs(NoCredentials(), "").identity.anonymous);
}

}  // namespace
}  // namespace auth
