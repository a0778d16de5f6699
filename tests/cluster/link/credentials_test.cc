// Links with TLS: who has no certificate of the nodes' authority does not get in.
#include "cluster/link/credentials.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cluster/link/link_node.h"
#include "tests/support/certificates.h"

namespace cluster {
namespace {

using support::Identity;
using testing::ElementsAre;
using testing::HasSubstr;

// An authority, and certificates that it or others have signed.
class LinkTlsTest : public testing::Test {
 protected:
  LinkOptions With(const Identity& node, const Identity& trusted, bool check_names = true) {
    const int number = ++last_;
    LinkOptions options;
    options.tls.cert_file = files_.Write(absl::StrCat("cert", number), node.CertificatePem());
    options.tls.key_file = files_.Write(absl::StrCat("key", number), node.KeyPem());
    options.tls.ca_file = files_.Write(absl::StrCat("ca", number), trusted.CertificatePem());
    options.tls.check_names = check_names;
    return options;
  }
  static std::string WhyDown(LinkNode& node, LinkNode& peer) {
    EXPECT_TRUE(node.WaitReport(
        peer.id(), [](const PeerReport& report) { return report.metrics->failed.value() > 0; }));
    EXPECT_FALSE(node.IsUp(peer.id()));
    return node.Report(peer.id()).why;
  }

  support::PemDirectory files_;
  int last_ = 0;
  const Identity authority_{{.common_name = "authority", .authority = true}};
  const Identity other_authority_{{.common_name = "another", .authority = true}};
  const Identity one_{{.common_name = "one", .alternative_names = "IP:127.0.0.1"}, &authority_};
  const Identity two_{{.common_name = "two", .alternative_names = "IP:127.0.0.2"}, &authority_};
  const Identity stranger_{{.common_name = "two", .alternative_names = "IP:127.0.0.2"},
                           &other_authority_};
  const Identity misnamed_{{.common_name = "two", .alternative_names = "IP:127.0.0.77"},
                           &authority_};
};

TEST_F(LinkTlsTest, NodesOfOneAuthorityAreLinked) {
  LinkNode a(1, With(one_, authority_));
  LinkNode b(2, With(two_, authority_));
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  ASSERT_TRUE(b.WaitUp(a.id()));
  ASSERT_EQ(a.links().Send(b.id(), LinkClass::kTraffic, "secret"), LinkSend::kQueued);
  EXPECT_THAT(b.WaitItems(a.id(), LinkClass::kTraffic, 1), ElementsAre("secret"));
}

// Its name leads nowhere: it is reached at the address that it calls from, and has to have the
// certificate of its name all the same.
TEST_F(LinkTlsTest, ANodeThatIsReachedWhereItCallsFromShowsTheCertificateOfItsName) {
  const Identity named{{.common_name = "two", .alternative_names = "DNS:*.nodes.invalid"},
                       &authority_};
  LinkNode a(1, With(one_, authority_));
  LinkNode b(2, With(named, authority_), "127.0.0.1");
  const auto call = [&](const std::string& host) {
    LinkNode::Introduce({&a});
    a.door.nodes[b.id()] = {"u2", Incarnation(1), Incarnation(0)};
    a.links().SetDoor(a.door);
    a.links().SetPeers({{b.id(), host + b.address().substr(b.address().rfind(':'))}});
    ASSERT_TRUE(a.WaitReport(
        b.id(), [](const PeerReport& report) { return report.metrics->failed.value() > 0; }));
    LinkNode::Introduce({&b});
    b.door.nodes[a.id()] = {"u1", Incarnation(1), Incarnation(0)};
    b.links().SetDoor(b.door);
    b.links().SetPeers({{a.id(), a.address()}});
  };
  call("two.nodes.invalid");
  ASSERT_TRUE(a.WaitUp(b.id()));
  call("two.others.invalid");
  EXPECT_TRUE(a.WaitReport(b.id(), [](const PeerReport& report) {
    return absl::StrContains(report.why, "is for another name");
  }));
}

TEST_F(LinkTlsTest, ACertificateOfAnotherAuthorityIsRefusedOnBothSides) {
  LinkNode a(1, With(one_, authority_));
  LinkNode b(2, With(stranger_, other_authority_));
  LinkNode::Introduce({&a, &b});
  EXPECT_THAT(WhyDown(a, b), HasSubstr("not signed by the authority in ca_file"));
  EXPECT_THAT(WhyDown(b, a), HasSubstr("not signed by the authority in ca_file"));
}

// It trusts the others, and they do not trust it.
TEST_F(LinkTlsTest, ACallerWhoseCertificateIsNotSignedByTheAuthorityDoesNotGetIn) {
  LinkNode a(1, With(one_, authority_));
  LinkNode b(2, With(stranger_, authority_));
  LinkNode::Introduce({&a, &b});
  EXPECT_THAT(WhyDown(b, a), HasSubstr("the node there ended the connection"));
  EXPECT_THAT(WhyDown(a, b), HasSubstr("not signed by the authority in ca_file"));
}

TEST_F(LinkTlsTest, WhoSpeaksInPlainTextDoesNotGetIn) {
  LinkNode a(1, With(one_, authority_));
  LinkNode b(2);
  LinkNode::Introduce({&a, &b});
  EXPECT_THAT(WhyDown(b, a), HasSubstr("the node there ended the connection"));
  EXPECT_THAT(WhyDown(a, b), HasSubstr("does not speak TLS"));
}

TEST_F(LinkTlsTest, ACertificateHasToNameTheHostUnlessThatIsNotToBeLookedAt) {
  {
    LinkNode a(1, With(one_, authority_));
    LinkNode b(2, With(misnamed_, authority_));
    LinkNode::Introduce({&a, &b});
    EXPECT_THAT(WhyDown(a, b), HasSubstr("for another name"));
  }
  LinkNode a(1, With(one_, authority_, false));
  LinkNode b(2, With(misnamed_, authority_, false));
  LinkNode::Introduce({&a, &b});
  EXPECT_TRUE(a.WaitUp(b.id()));
}

TEST_F(LinkTlsTest, WithoutNamesTheAuthorityIsLookedAtAllTheSame) {
  LinkNode a(1, With(one_, authority_, false));
  LinkNode b(2, With(stranger_, authority_, false));
  LinkNode::Introduce({&a, &b});
  EXPECT_THAT(WhyDown(a, b), HasSubstr("not signed by the authority in ca_file"));
}

TEST_F(LinkTlsTest, WhatIsMissingIsSaidInWords) {
  const auto refused = [&](auto&& change) {
    LinkOptions options = With(one_, authority_);
    options.listen = "127.0.0.1:0";
    change(options);
    const auto made = MakeLinkCredentials(options);
    EXPECT_FALSE(made.ok());
    return std::string(made.status().message());
  };
  EXPECT_THAT(refused([](LinkOptions& options) { options.tls.ca_file = ""; }),
              HasSubstr("ca_file: it is needed"));
  EXPECT_THAT(refused([](LinkOptions& options) { options.tls.key_file = "/nowhere"; }),
              HasSubstr("key_file: cannot read /nowhere"));
  EXPECT_THAT(refused([](LinkOptions& options) { options.tls.cert_file = options.tls.key_file; }),
              HasSubstr("cert_file: there is no certificate in"));
  EXPECT_THAT(refused([](LinkOptions& options) {
                options.tls = {};
                options.listen = "0.0.0.0:1885";
              }),
              HasSubstr("without TLS"));
}

TEST(LinkCredentials, PlainTextIsForLoopbackUnlessItIsAllowed) {
  EXPECT_TRUE(MakeLinkCredentials({.listen = "127.0.0.1:1885"}).ok());
  EXPECT_TRUE(MakeLinkCredentials({.listen = "[::1]:1885"}).ok());
  EXPECT_FALSE(MakeLinkCredentials({.listen = "10.0.0.1:1885"}).ok());
  EXPECT_TRUE(MakeLinkCredentials({.listen = "10.0.0.1:1885", .allow_plaintext = true}).ok());
}

}  // namespace
}  // namespace cluster
