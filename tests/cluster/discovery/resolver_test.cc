#include "cluster/discovery/resolver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <thread>
#include <utility>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cluster {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

// A name server for SRV records, in as many bytes as the answer takes.
class NameServer {
 public:
  struct Record {
    uint16_t priority = 0;
    uint16_t port = 0;
    std::string host;
  };

  NameServer(std::string name, std::vector<Record> records)
      : name_(Encoded(name)), records_(std::move(records)), fd_(socket(AF_INET, SOCK_DGRAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    socklen_t size = sizeof(address);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~NameServer() {
    shutdown(fd_, SHUT_RDWR);  // Wakes who reads.
    thread_.join();
    close(fd_);
  }
  uint16_t port() const { return port_; }

 private:
  static std::string Encoded(const std::string& name) {
    std::string encoded;
    for (const absl::string_view label : absl::StrSplit(name, '.')) {
      encoded.push_back(static_cast<char>(label.size()));
      encoded.append(label.data(), label.size());
    }
    return encoded + '\0';
  }
  static void Number(std::string& out, uint32_t value, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
      out.push_back(static_cast<char>(value >> shift));
  }

  void Serve() {
    char buffer[1024];
    sockaddr_in from{};
    while (true) {
      socklen_t size = sizeof(from);
      const ssize_t got =
          recvfrom(fd_, buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 12) return;
      const std::string question(buffer, static_cast<size_t>(got));
      const size_t name_end = question.find('\0', 12) + 1;
      const bool known = question.substr(12, name_end - 12) == name_;
      std::string answer = question.substr(0, 2);
      Number(answer, known ? 0x8580 : 0x8583, 2);  // NXDOMAIN otherwise.
      Number(answer, 1, 2);
      Number(answer, known ? static_cast<uint32_t>(records_.size()) : 0, 2);
      Number(answer, 0, 4);
      answer += question.substr(12, name_end + 4 - 12);
      for (const Record& record : known ? records_ : std::vector<Record>()) {
        const std::string host = Encoded(record.host);
        Number(answer, 0xC00C, 2);
        Number(answer, 33, 2);
        Number(answer, 1, 2);
        Number(answer, 5, 4);
        Number(answer, static_cast<uint32_t>(6 + host.size()), 2);
        Number(answer, record.priority, 2);
        Number(answer, 0, 2);
        Number(answer, record.port, 2);
        answer += host;
      }
      sendto(fd_, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }

  const std::string name_;
  const std::vector<Record> records_;
  const int fd_;
  uint16_t port_ = 0;
  std::thread thread_;
};

TEST(Resolver, AHostIsEachOfItsAddresses) {
  SystemResolver resolver;
  const auto local = resolver.Resolve("localhost:1885");
  ASSERT_TRUE(local.ok()) << local.status();
  EXPECT_THAT(*local, Contains("127.0.0.1:1885"));
  EXPECT_THAT(*resolver.Resolve("10.1.2.3:99"), ElementsAre("10.1.2.3:99"));
  EXPECT_THAT(*resolver.Resolve("[fd00::1]:99"), ElementsAre("[fd00::1]:99"));
}

TEST(Resolver, AServiceIsItsHostsAndPortsByPriority) {
  NameServer server("_mqttd._tcp.example.org", {{2, 1886, "third.example.org"},
                                                {1, 1885, "second.example.org"},
                                                {1, 1885, "first.example.org"},
                                                {1, 1885, "first.example.org"}});
  SystemResolver resolver(server.port());
  const auto found = resolver.Resolve("_mqttd._tcp.example.org");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found, ElementsAre("first.example.org:1885", "second.example.org:1885",
                                  "third.example.org:1886"));
  const auto other = resolver.Resolve("_other._tcp.example.org");
  EXPECT_EQ(other.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("there is no SRV record _other"));
}

TEST(Resolver, WhatIsNeitherIsSaidInWords) {
  SystemResolver resolver;
  for (const char* const name : {"host", "host:", "host:0", "host:70000", ":1885", ""}) {
    const auto found = resolver.Resolve(name);
    EXPECT_EQ(found.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(found.status().message()), HasSubstr("HOST:PORT"));
  }
}

}  // namespace
}  // namespace cluster
