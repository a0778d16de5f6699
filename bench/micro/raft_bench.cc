// What it costs to have an entry committed: the engine alone, and with the log on the disk.
#include <rocksdb/env.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "cluster/log_store.h"
#include "cluster/raft/raft_loop.h"
#include "storage/core/options.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

constexpr size_t kEntryBytes = 256;

// Takes everything and keeps nothing.
class NoStore final : public EntryStore {
 public:
  std::unique_ptr<EntryBatch> NewBatch() override { return std::make_unique<Batch>(); }
  absl::Status Write(EntryBatch& /*batch*/, Sync /*sync*/) override { return absl::OkStatus(); }
  absl::StatusOr<Group> Load(GroupId /*group*/) override { return absl::NotFoundError("nothing"); }
  absl::Status Read(GroupId, uint64_t, uint64_t, uint64_t,
                    absl::FunctionRef<void(const EntryView&)>) override {
    return absl::DataLossError("nothing");
  }

 private:
  struct Batch final : public EntryBatch {
    void Append(GroupId, absl::Span<const EntryView>, uint64_t) override {}
    void SetHardState(GroupId, const HardState&) override {}
    void SetConfState(GroupId, const ConfStateAt&) override {}
    void Cut(GroupId, Place, uint64_t) override {}
    void Restart(GroupId, Place, const ConfState&) override {}
    void Remove(GroupId) override {}
  };
};

// Members of groups with the same numbers, whose messages take no time.
struct Cluster {
  Cluster(size_t members, size_t the_groups, std::vector<EntryStore*> stores) : groups(the_groups) {
    ConfState conf_state;
    for (size_t id = 1; id <= members; ++id) conf_state.voters.push_back(id);
    for (size_t id = 1; id <= members; ++id) {
      RaftLoopOptions options;
      nodes.push_back({stores[id - 1], std::make_unique<RaftLoop>(options, *stores[id - 1])});
      for (size_t group = 0; group < groups; ++group) {
        CHECK(nodes.back()
                  .loop
                  ->AddGroup({.group = static_cast<GroupId>(group),
                              .replica = id,
                              .applied = kGroupBegin,
                              .conf_state = conf_state})
                  .ok())
            << "in set-up";
      }
    }
    for (size_t group = 0; group < groups; ++group) {
      CHECK(nodes[0].loop->Campaign(static_cast<GroupId>(group)).ok()) << "in set-up";
    }
    Settle();
  }

  struct Node {
    EntryStore* store;
    std::unique_ptr<RaftLoop> loop;
  };

  void Settle() {
    bool quiet = false;
    while (!quiet) {
      quiet = true;
      for (Node& node : nodes) quiet = Round(node) && quiet;
    }
  }

  bool Round(Node& node) {
    node.loop->Run();
    std::vector<LogEvent> events = node.loop->TakeEvents();
    for (const LogEvent& event : events) {
      if (const auto* batch = std::get_if<Committed>(&event);
          batch != nullptr && &node == &nodes[0]) {
        committed += batch->entries.size();
        node.loop->Flushed(batch->group, batch->entries.back().place.index);
      }
    }
    std::vector<RaftLoop::Message> messages = node.loop->TakeMessages();
    for (const RaftLoop::Message& message : messages) {
      CHECK(nodes[message.to - 1].loop->OnMessage(message.group, message.data).ok()) << "message";
    }
    const std::optional<RaftLoop::Write> write = node.loop->BeginWrite();
    if (write.has_value()) {
      CHECK(node.store->Write(*write->batch, EntryStore::Sync::kNo).ok()) << "write";
      node.loop->OnWritten();
    }
    return events.empty() && messages.empty() && !write.has_value();
  }

  void Propose(size_t entries) {
    const std::string entry(kEntryBytes, 'x');
    for (size_t group = 0; group < groups; ++group) {
      for (size_t i = 0; i < entries; ++i) {
        nodes[0].loop->Submit({static_cast<GroupId>(group), ++number, entry});
      }
    }
    Settle();
  }

  const size_t groups;
  std::vector<Node> nodes;
  uint64_t number = 0;
  size_t committed = 0;
};

void Commit(benchmark::State& state, Cluster& cluster, size_t entries) {
  const size_t before = cluster.committed;
  for (auto _ : state) cluster.Propose(entries);
  state.SetItemsProcessed(static_cast<int64_t>(cluster.committed - before));
}

// members, groups, entries of each in a round
void BM_Engine(benchmark::State& state) {
  const auto members = static_cast<size_t>(state.range(0));
  std::vector<NoStore> stores(members);
  std::vector<EntryStore*> pointers;
  for (NoStore& store : stores) pointers.push_back(&store);
  Cluster cluster(members, static_cast<size_t>(state.range(1)), pointers);
  Commit(state, cluster, static_cast<size_t>(state.range(2)));
}
BENCHMARK(BM_Engine)
    ->Args({1, 1, 1})
    ->Args({1, 1, 16})
    ->Args({1, 16, 1})
    ->Args({3, 1, 1})
    ->Args({3, 1, 16})
    ->Args({3, 16, 1});

void BM_WithLog(benchmark::State& state) {
  const auto members = static_cast<size_t>(state.range(0));
  const support::TempDir directory;
  std::vector<std::unique_ptr<LogStore>> stores;
  std::vector<EntryStore*> pointers;
  for (size_t i = 0; i < members; ++i) {
    auto store = LogStore::Open(directory.path() + "/" + std::to_string(i), {},
                                *rocksdb::Env::Default(), /*create=*/true);
    CHECK(store.ok()) << store.status().ToString();
    stores.push_back(*std::move(store));
    pointers.push_back(stores.back().get());
  }
  Cluster cluster(members, static_cast<size_t>(state.range(1)), pointers);
  Commit(state, cluster, static_cast<size_t>(state.range(2)));
}
BENCHMARK(BM_WithLog)
    ->Args({1, 1, 1})
    ->Args({1, 1, 16})
    ->Args({1, 16, 1})
    ->Args({3, 1, 1})
    ->Args({3, 1, 16})
    ->Args({3, 16, 1});

}  // namespace
}  // namespace cluster
