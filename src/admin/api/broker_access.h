// The way from the API into the broker: what runs where things are owned.
#ifndef ADMIN_API_BROKER_ACCESS_H_
#define ADMIN_API_BROKER_ACCESS_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "admin/api/main_thread.h"
#include "admin/api/spare_thread.h"
#include "admin/api/thread_answers.h"
#include "admin/readiness.h"
#include "base/clock.h"
#include "base/cluster_view.h"
#include "base/mutex.h"
#include "base/node_call.h"
#include "broker/server.h"
#include "storage/partition_host.h"

namespace admin {

class FamilyBuilder;

// The broker as handlers see it. It comes when the store is open and goes when the process stops;
// before and after, they answer Unavailable. Any thread.
//
// A task runs on the thread that owns what it looks at, between two of its turns, so it is short:
// some hundred microseconds, then it is posted again for the next. What it finds travels in values;
// the caller's reply is called from there, or Aside if there is much to be made of them.
class BrokerAccess {
 public:
  struct Sources {
    const Readiness* readiness = nullptr;
    const base::Clock* clock = nullptr;
    std::function<broker::MetricsSnapshot()> metrics;
    std::function<FamilyBuilder()> families;  // All metrics, as they are now.
    std::function<std::string()> node_id;
    std::function<uint32_t()> partitions;
    std::function<uint64_t()> partitions_led;  // By this node: a bit for each.
    std::function<std::string()> admin_address;
    std::function<std::string()> http_address;
    std::string data_dir;
    // Of a node in a cluster; null: it is alone.
    std::function<base::ClusterView()> cluster;
    base::CallNode call_node;
    std::function<void(uint32_t node, std::function<void(absl::Status)> done)> forget_node;
    std::function<void(std::vector<std::string> addresses, std::function<void(absl::Status)> done)>
        join_cluster;
    // Runs a task on main's thread, soon.
    std::function<void(std::function<void(MainThread&)>)> on_main;
  };
  explicit BrokerAccess(Sources sources) : sources_(std::move(sources)), answers_(sources_.clock) {}

  const Sources& sources() const { return sources_; }

  // Both outlive every call, or are taken back before they end.
  void Use(broker::Server* server, storage::PartitionHost* host) {
    base::MutexLock lock(mutex_);
    server_ = server;
    host_ = host;
  }

  bool open() const {
    base::MutexLock lock(mutex_);
    return server_ != nullptr;
  }
  absl::Status CheckOpen() const {
    if (open()) return absl::OkStatus();
    return absl::UnavailableError("the broker is " + sources_.readiness->why() +
                                  ": try again in a moment");
  }

  // How many shards there are; 0: the broker is not open.
  storage::ShardId shards() const {
    base::MutexLock lock(mutex_);
    return server_ == nullptr ? storage::ShardId{0} : server_->shards();
  }

  // On a shard's thread. False: the broker is not open.
  bool OnShard(storage::ShardId shard, std::function<void(broker::ShardCore&)> task) const {
    base::MutexLock lock(mutex_);
    if (server_ == nullptr) return false;
    server_->RunOnShard(shard, answers_.Expect(absl::StrCat("shard ", static_cast<uint32_t>(shard)),
                                               std::move(task)));
    return true;
  }

  // On the partition host's thread. Likewise.
  bool OnHost(std::function<void(storage::Host&)> task) const {
    base::MutexLock lock(mutex_);
    if (host_ == nullptr) return false;
    host_->Run(answers_.Expect("the store's thread", std::move(task)));
    return true;
  }

  // See storage::PartitionHost. False: the broker is not open.
  bool Checkpoint(std::string directory, std::function<void(absl::Status)> done) const {
    base::MutexLock lock(mutex_);
    if (host_ == nullptr) return false;
    host_->Checkpoint(std::move(directory), std::move(done));
    return true;
  }

  // On main's thread. Likewise.
  bool OnMain(std::function<void(MainThread&)> task) const {
    if (!open()) return false;
    sources_.on_main(answers_.Expect("the main thread", std::move(task)));
    return true;
  }

  // Which of these threads do not answer, in words; empty: all do.
  std::string Silent() const { return answers_.Silent(); }

  // On a thread that no client waits for: what takes long, such as to make the message of a page.
  void Aside(std::function<void()> task) const { spare_.Run(std::move(task)); }
  // From then on that is done where it is asked for.
  void StopAside() { spare_.Stop(); }

  // What the operator is told of a mistake of his own, when the broker is not open.
  static absl::Status Closed() { return absl::UnavailableError("the broker is stopping"); }

  // For what is not the shards': listeners, limits. On the calling thread; null: not open.
  template <typename Use>
  absl::Status WithServer(Use&& use) const {
    base::MutexLock lock(mutex_);
    if (server_ == nullptr) return Closed();
    return use(*server_);
  }

 private:
  const Sources sources_;
  const ThreadAnswers answers_;
  mutable base::Mutex mutex_;
  broker::Server* server_ ABSL_GUARDED_BY(mutex_) = nullptr;
  storage::PartitionHost* host_ ABSL_GUARDED_BY(mutex_) = nullptr;
  mutable SpareThread spare_;
};

}  // namespace admin

#endif  // ADMIN_API_BROKER_ACCESS_H_
