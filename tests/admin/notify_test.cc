// What the service manager hears, over a real datagram socket.
#include "admin/notify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace admin {
namespace {

// The service manager's end.
class Manager {
 public:
  explicit Manager(const std::string& name)
      : name_(name), fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), size), 0) << strerror(errno);
  }
  ~Manager() {
    close(fd_);
    if (name_[0] != '@') unlink(name_.c_str());
  }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  std::string Receive() {
    char buffer[1024];
    const ssize_t count = recv(fd_, buffer, sizeof(buffer), 0);
    return count < 0 ? std::string() : std::string(buffer, static_cast<size_t>(count));
  }

 private:
  const std::string name_;
  const int fd_;
};

class NotifyTest : public testing::TestWithParam<const char*> {
 protected:
  std::string name_ = absl::StrCat(GetParam(), "mqttd-notify-test-", getpid());
};

TEST_P(NotifyTest, EachMessageArrives) {
  Manager manager(name_);
  const ServiceManager service(name_);
  EXPECT_TRUE(service.Ready("listening on\na port").ok());
  EXPECT_EQ(manager.Receive(), "READY=1\nSTATUS=listening on a port\n");
  EXPECT_TRUE(service.Reloading(absl::Seconds(2)).ok());
  EXPECT_EQ(manager.Receive(), "RELOADING=1\nMONOTONIC_USEC=2000000\n");
  EXPECT_TRUE(service.Stopping("bye").ok());
  EXPECT_EQ(manager.Receive(), "STOPPING=1\nSTATUS=bye\n");
  EXPECT_TRUE(service.Watchdog().ok());
  EXPECT_EQ(manager.Receive(), "WATCHDOG=1\n");
  EXPECT_TRUE(service.Status("at work").ok());
  EXPECT_EQ(manager.Receive(), "STATUS=at work\n");
}

TEST_P(NotifyTest, MoreTimeIsAskedForAtOnceAndNoMoreBehindIt) {
  Manager manager(name_);
  const ServiceManager service(name_);
  {
    const MoreTime more(service);
    EXPECT_EQ(manager.Receive(), "EXTEND_TIMEOUT_USEC=60000000\n");
  }
  EXPECT_TRUE(service.Status("over").ok());
  EXPECT_EQ(manager.Receive(), "STATUS=over\n");
}

// Its socket takes a few messages: who waits for room would wait with all that he has to do.
TEST_P(NotifyTest, SignsOfLifeDoNotWaitForAManagerThatDoesNotRead) {
  Manager manager(name_);
  const ServiceManager service(name_);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(service.Watchdog().ok());
    ASSERT_TRUE(service.ExtendTimeout(absl::Seconds(1)).ok());
  }
  EXPECT_EQ(manager.Receive(), "WATCHDOG=1\n");
}

INSTANTIATE_TEST_SUITE_P(Sockets, NotifyTest, testing::Values("@", "/tmp/"));

TEST(Notify, WithoutAManagerNothingHappens) {
  unsetenv("NOTIFY_SOCKET");
  const ServiceManager service = ServiceManager::FromEnvironment();
  EXPECT_FALSE(service.connected());
  EXPECT_TRUE(service.Ready("x").ok());
}

TEST(Notify, TheVariableIsNotInherited) {
  setenv("NOTIFY_SOCKET", "@nobody-listens-here", 1);
  const ServiceManager service = ServiceManager::FromEnvironment();
  EXPECT_TRUE(service.connected());
  EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);
  EXPECT_FALSE(service.Ready("x").ok());
}

TEST(Notify, ATooLongNameIsAnError) {
  EXPECT_FALSE(ServiceManager("/" + std::string(200, 'x')).Watchdog().ok());
}

TEST(Notify, TheWatchdogIsForOurProcess) {
  setenv("WATCHDOG_USEC", "30000000", 1);
  unsetenv("WATCHDOG_PID");
  EXPECT_EQ(ServiceManager::WatchdogTimeout(), absl::Seconds(30));
  setenv("WATCHDOG_PID", absl::StrCat(getpid()).c_str(), 1);
  EXPECT_EQ(ServiceManager::WatchdogTimeout(), absl::Seconds(30));
  setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(ServiceManager::WatchdogTimeout(), std::nullopt);
  unsetenv("WATCHDOG_PID");
  setenv("WATCHDOG_USEC", "soon", 1);
  EXPECT_EQ(ServiceManager::WatchdogTimeout(), std::nullopt);
  unsetenv("WATCHDOG_USEC");
  EXPECT_EQ(ServiceManager::WatchdogTimeout(), std::nullopt);
}

}  // namespace
}  // namespace admin
