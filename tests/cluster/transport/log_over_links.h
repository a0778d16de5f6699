// The log of a node's groups on a real disk, and its messages over the node's links.
#ifndef TESTS_CLUSTER_TRANSPORT_LOG_OVER_LINKS_H_
#define TESTS_CLUSTER_TRANSPORT_LOG_OVER_LINKS_H_

#include <rocksdb/env.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cluster/raft_log.h"
#include "cluster/transport/raft_transport.h"
#include "gtest/gtest.h"
#include "storage/core/metrics.h"

namespace cluster {

class LogOverLinks {
 public:
  using Take = std::function<void(std::vector<LogEvent>)>;
  using Other = std::function<void(NodeLife, const ControlItem&)>;

  // Null: it could not be opened, and a failure of the test says why.
  static std::unique_ptr<LogOverLinks> Open(Links& links, const std::string& path, bool create,
                                            absl::Duration tick, Take take, Other other) {
    auto store = LogStore::Open(path, {}, *rocksdb::Env::Default(), create);
    EXPECT_TRUE(store.ok()) << store.status();
    if (!store.ok()) return nullptr;
    return std::unique_ptr<LogOverLinks>(
        new LogOverLinks(links, *std::move(store), tick, std::move(take), std::move(other)));
  }
  ~LogOverLinks() { log_.Stop().IgnoreError(); }

  RaftLog& log() { return log_; }
  RaftTransport& transport() { return transport_; }

 private:
  LogOverLinks(Links& links, std::unique_ptr<LogStore> store, absl::Duration tick, Take take,
               Other other)
      : transport_(links, {.receive =
                               [this](std::vector<RaftLoop::Message> messages,
                                      std::function<void()> taken) {
                                 log_.Receive(std::move(messages));
                                 log_.Run([taken = std::move(taken)](RaftLoop&) { taken(); });
                               },
                           .unreachable =
                               [this](RaftTransport::Place place) {
                                 log_.Run([place](RaftLoop& loop) {
                                   loop.ReportUnreachable(place.first, place.second);
                                 });
                               },
                           .other = std::move(other)}),
        log_(
            OptionsWith(tick), std::move(store), nullptr, base::RealClock::Get(), metrics_,
            [this](std::vector<RaftLoop::Message> messages) { transport_.Send(messages); },
            std::move(take)) {}

  static RaftLogOptions OptionsWith(absl::Duration tick) {
    RaftLogOptions options;
    options.tick = tick;
    options.loop.seed = 1;
    return options;
  }

  storage::HostMetrics metrics_;
  RaftTransport transport_;
  RaftLog log_;  // Last: it ends first.
};

}  // namespace cluster

#endif  // TESTS_CLUSTER_TRANSPORT_LOG_OVER_LINKS_H_
