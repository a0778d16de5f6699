// A network between two nodes that can fall silent: nothing is lost or closed, and nothing arrives.
#ifndef TESTS_CLUSTER_LINK_SILENT_PROXY_H_
#define TESTS_CLUSTER_LINK_SILENT_PROXY_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace cluster {

// Takes connections and hands on what comes, to an IPv4 address and back.
class SilentProxy {
 public:
  explicit SilentProxy(const std::string& target)
      : listening_(socket(AF_INET, SOCK_STREAM, 0)), wake_(eventfd(0, 0)) {
    const size_t colon = target.rfind(':');
    int port = 0;
    CHECK(absl::SimpleAtoi(target.substr(colon + 1), &port)) << target;
    target_.sin_family = AF_INET;
    target_.sin_port = htons(static_cast<uint16_t>(port));
    CHECK(inet_pton(AF_INET, target.substr(0, colon).c_str(), &target_.sin_addr) == 1) << target;
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listening_, reinterpret_cast<sockaddr*>(&at), sizeof(at)) == 0 &&
          listen(listening_, 16) == 0)
        << "loopback";
    socklen_t size = sizeof(at);
    getsockname(listening_, reinterpret_cast<sockaddr*>(&at), &size);
    address_ = absl::StrCat("127.0.0.1:", ntohs(at.sin_port));
    thread_ = std::thread([this] { Run(); });
  }
  ~SilentProxy() {
    stopping_ = true;
    Wake();
    thread_.join();
    for (const auto& [a, b] : pairs_) {
      close(a);
      close(b);
    }
    close(listening_);
    close(wake_);
  }

  const std::string& address() const { return address_; }
  void SetSilent(bool silent) {
    silent_ = silent;
    Wake();
  }

 private:
  void Wake() {
    const uint64_t one = 1;
    CHECK(write(wake_, &one, sizeof(one)) == sizeof(one)) << "eventfd";
  }

  void Run() {
    while (!stopping_) {
      std::vector<pollfd> waiting = {{wake_, POLLIN, 0}};
      if (!silent_) {
        waiting.push_back({listening_, POLLIN, 0});
        for (const auto& [a, b] : pairs_) {
          waiting.push_back({a, POLLIN, 0});
          waiting.push_back({b, POLLIN, 0});
        }
      }
      poll(waiting.data(), waiting.size(), -1);
      if (waiting[0].revents != 0) {
        uint64_t count = 0;
        CHECK(read(wake_, &count, sizeof(count)) > 0) << "eventfd";
        continue;
      }
      std::vector<std::pair<int, int>> open;
      for (size_t i = 0; i < pairs_.size(); ++i) {
        const auto [a, b] = pairs_[i];
        const bool stays = (waiting[2 + 2 * i].revents == 0 || HandOn(a, b)) &&
                           (waiting[3 + 2 * i].revents == 0 || HandOn(b, a));
        if (stays) {
          open.push_back(pairs_[i]);
        } else {
          close(a);
          close(b);
        }
      }
      pairs_ = std::move(open);
      if (waiting[1].revents != 0) Accept();
    }
  }
  static bool HandOn(int from, int to) {
    char buffer[64 * 1024];
    const ssize_t got = recv(from, buffer, sizeof(buffer), 0);
    return got > 0 && send(to, buffer, static_cast<size_t>(got), MSG_NOSIGNAL) == got;
  }
  void Accept() {
    const int accepted = accept(listening_, nullptr, nullptr);
    const int connected = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connected, reinterpret_cast<const sockaddr*>(&target_), sizeof(target_)) == 0) {
      pairs_.emplace_back(accepted, connected);
    } else {
      close(accepted);
      close(connected);
    }
  }

  const int listening_;
  const int wake_;
  sockaddr_in target_{};
  std::string address_;
  std::atomic<bool> silent_{false};
  std::atomic<bool> stopping_{false};
  std::vector<std::pair<int, int>> pairs_;
  std::thread thread_;
};

}  // namespace cluster

#endif  // TESTS_CLUSTER_LINK_SILENT_PROXY_H_
