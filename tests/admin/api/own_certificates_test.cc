#include "admin/api/own_certificates.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>

#include "tests/support/certificates.h"

namespace admin {
namespace {

class OwnCertificatesTest : public testing::Test {
 protected:
  void WriteCertificate(bool expired) {
    const support::Identity identity({.common_name = "here", .expired = expired});
    directory_.Write("crt", identity.CertificatePem());
  }
  config::AdminOptions options() const {
    config::AdminOptions options;
    options.cert_file = directory_.File("crt");
    return options;
  }
  static int64_t End(const OwnCertificates& own) { return own.all().at(0).expires_unix_s; }

  const support::PemDirectory directory_;
  const absl::Time now_ = absl::FromUnixSeconds(1'790'000'000);
};

TEST_F(OwnCertificatesTest, AreLookedAtAtOnceAndThenOnceAMinute) {
  WriteCertificate(/*expired=*/false);
  OwnCertificates own(options(), {}, now_);
  ASSERT_EQ(own.all().size(), 1u);
  EXPECT_EQ(own.all()[0].used_by, "admin");
  const int64_t before = End(own);
  EXPECT_NE(before, 0) << "the file can be read";
  WriteCertificate(/*expired=*/true);
  own.Tick(absl::Seconds(100), now_);
  own.Tick(absl::Seconds(159), now_);
  EXPECT_EQ(End(own), before);
  own.Tick(absl::Seconds(160), now_);
  while (End(own) == before) std::this_thread::yield();
  EXPECT_LT(End(own), before);
}

// On a mount that hangs, as a pipe does to which nobody writes.
TEST_F(OwnCertificatesTest, AFileThatDoesNotAnswerHoldsNobodyUp) {
  WriteCertificate(/*expired=*/false);
  const std::string file = directory_.File("crt");
  {
    OwnCertificates own(options(), {}, now_);
    const int64_t before = End(own);
    std::filesystem::remove(file);
    ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
    for (int minute = 0; minute < 3; ++minute) own.Tick(absl::Minutes(minute), now_);
    EXPECT_EQ(End(own), before) << "as it was when it was looked at last";
  }
  // It is under way still: once, however many minutes there were.
  const int written = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(written, 0);
  close(written);
}

}  // namespace
}  // namespace admin
