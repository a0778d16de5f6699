// A broker in the test's process, with a store in a directory of its own.
#ifndef TESTS_EMBED_EMBEDDED_H_
#define TESTS_EMBED_EMBEDDED_H_

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "embed/server.h"
#include "tests/support/client.h"
#include "tests/support/patience.h"
#include "tests/support/temp_dir.h"

namespace mqttd {

// What hooks on other threads tell the test.
template <typename Value>
class Inbox {
 public:
  void Put(Value value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    came_.notify_all();
  }
  Value Take(support::Where where = support::Where::current()) {
    std::unique_lock lock(mutex_);
    const auto limit = std::chrono::seconds(20) * support::TestSlowdown();
    if (!came_.wait_for(lock, limit, [this] { return !values_.empty(); }))
      support::Fail("nothing came", where);
    Value value = std::move(values_.front());
    values_.pop_front();
    return value;
  }
  bool empty() {
    const std::lock_guard lock(mutex_);
    return values_.empty();
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Value> values_;
};

class EmbeddedTest : public testing::Test {
 protected:
  EmbeddedTest() {
    options_.listeners = {{.url = "mqtt://127.0.0.1:0"}};
    options_.data_dir = directory_.path() + "/data";
    options_.settings = {{"auth.allow_anonymous", "true"},
                         {"broker.shards", "2"},
                         {"broker.sys_interval", "0"},
                         {"log.level", "off"}};
  }

  void Start() {
    server_ = std::make_unique<Server>(options_);
    ASSERT_EQ(server_->Start(), absl::OkStatus());
    const std::string url = server_->urls().at(0);
    port_ = static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  }
  support::RawClient Join(const std::string& id, support::Version version = support::Version::k5) {
    return support::RawClient(port_, {.version = version, .client_id = id});
  }

  const support::TempDir directory_;
  Options options_;
  Hooks& hooks_ = options_.hooks;
  std::unique_ptr<Server> server_;
  uint16_t port_ = 0;
};

}  // namespace mqttd

#endif  // TESTS_EMBED_EMBEDDED_H_
