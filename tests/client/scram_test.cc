#include "client/scram.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/escaping.h"

namespace mqttd::client {
namespace {

// The exchange of RFC 7677, section 3.
constexpr char kServerFirst[] =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

ScramSha256 Client() {
  ScramSha256 client("user", "pencil");
  client.nonce = [] { return std::string("rOprNGfwEbeRWgbNEkqO"); };
  return client;
}

TEST(Scram, SaysWhatTheStandardSays) {
  ScramSha256 client = Client();
  EXPECT_EQ(*client.Begin(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  EXPECT_EQ(*client.Continue(kServerFirst),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  EXPECT_TRUE(client.Finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").ok());
}

TEST(Scram, TheServersProofIsChecked) {
  ScramSha256 client = Client();
  ASSERT_TRUE(client.Begin().ok());
  EXPECT_FALSE(client.Finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").ok())
      << "before the client has said anything";
  ASSERT_TRUE(client.Continue(kServerFirst).ok());
  EXPECT_FALSE(client.Finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=").ok());
  EXPECT_FALSE(client.Finish("").ok());
  EXPECT_FALSE(client.Continue(kServerFirst).ok()) << "the proof is given once";
}

TEST(Scram, AStrangeServerGetsNoProof) {
  for (const char* strange :
       {"", "r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096", "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0S,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0S,i=999999999",
        "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0S,i=many"}) {
    ScramSha256 client = Client();
    ASSERT_TRUE(client.Begin().ok());
    EXPECT_FALSE(client.Continue(strange).ok()) << strange;
  }
}

TEST(Scram, KeysVerifyAProofWithoutThePassword) {
  std::string salt;
  ASSERT_TRUE(absl::Base64Unescape("W22ZaJ0SNY7soEsUEjb6gQ==", &salt));
  const ScramKeys keys = DeriveScramKeys("pencil", salt, 4096);
  const std::string proof = ScramClientProof("pencil", keys, "what was said");
  EXPECT_TRUE(ScramProofIsRight(keys, "what was said", proof));
  EXPECT_FALSE(ScramProofIsRight(keys, "what was not", proof));
  EXPECT_FALSE(ScramProofIsRight(keys, "what was said", proof.substr(1)));
}

TEST(Scram, NamesWithCommasAreEscaped) {
  ScramSha256 client("a=b,c", "");
  client.nonce = [] { return std::string("x"); };
  EXPECT_EQ(*client.Begin(), "n,,n=a=3Db=2Cc,r=x");
}

}  // namespace
}  // namespace mqttd::client
