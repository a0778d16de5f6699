// A few loops whose messages and writes a test moves by hand.
#ifndef TESTS_CLUSTER_LOOP_RIG_H_
#define TESTS_CLUSTER_LOOP_RIG_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "cluster/raft/raft_loop.h"
#include "tests/cluster/memory_entry_store.h"

namespace cluster {

// One group, number 0; its members are 1, 2, …
class LoopRig {
 public:
  struct Node {
    ReplicaId id = 0;
    MemoryEntryStore store;
    std::unique_ptr<RaftLoop> loop;
    bool hold_writes = false;
    bool lazy = false;  // Syncs votes alone, as `durability: none`.
    std::optional<RaftLoop::Write> writing;
    std::vector<LogEvent> events;
    std::vector<std::string> entries;  // Applied.
    Place applied;
    ConfState conf_state;
  };

  explicit LoopRig(uint32_t members, RaftLoopOptions options = {}) : options_(std::move(options)) {
    ConfState conf_state;
    for (ReplicaId id = 1; id <= members; ++id) conf_state.voters.push_back(id);
    for (ReplicaId id = 1; id <= members; ++id) Add(id, kGroupBegin, conf_state);
  }

  Node& operator[](ReplicaId id) { return *nodes_.at(id); }
  RaftLoop& loop(ReplicaId id) { return *nodes_.at(id)->loop; }

  Node& Add(ReplicaId id, Place applied, ConfState conf_state) {
    auto node = std::make_unique<Node>();
    node->id = id;
    node->applied = applied;
    node->conf_state = std::move(conf_state);
    Node& added = *(nodes_[id] = std::move(node));
    const absl::Status status = Boot(added);
    CHECK(status.ok()) << status.ToString();
    return added;
  }

  // The machine dies, and comes back with what its disk has. The state has all that it applied.
  absl::Status Restart(ReplicaId id) {
    Node& node = *nodes_.at(id);
    node.loop = nullptr;
    node.writing.reset();
    node.hold_writes = false;
    base::Rng rng(1);
    node.store.Crash(rng);
    return Boot(node);
  }

  // The machine loses its power: what was not synced is gone, and the state is as of `applied`.
  absl::Status LosePower(ReplicaId id, Place applied) {
    Node& node = *nodes_.at(id);
    node.loop = nullptr;
    node.writing.reset();
    node.hold_writes = node.lazy = false;
    node.store.LoseUnsynced();
    node.applied = applied;
    return Boot(node);
  }

  // Which messages are lost.
  std::function<bool(const Node& from, const RaftLoop::Message&)> loses;
  std::deque<std::pair<ReplicaId, RaftLoop::Message>> under_way;

  void Run(ReplicaId id) {
    Node& node = *nodes_.at(id);
    while (true) {
      node.loop->Run();
      for (RaftLoop::Message& message : node.loop->TakeMessages()) {
        if (!loses || !loses(node, message)) under_way.emplace_back(id, std::move(message));
      }
      for (LogEvent& event : node.loop->TakeEvents()) Take(node, std::move(event));
      if (!node.writing.has_value()) node.writing = node.loop->BeginWrite();
      if (!node.writing.has_value() || node.hold_writes) return;
      EndWrite(id);
    }
  }

  // What was held is on the disk.
  void EndWrite(ReplicaId id) {
    Node& node = *nodes_.at(id);
    CHECK(node.writing.has_value()) << "nothing is being written";
    const bool syncs = node.writing->votes || !node.lazy;
    const auto sync = syncs ? node.writing->sync : EntryStore::Sync::kNo;
    CHECK(node.store.Write(*node.writing->batch, sync).ok()) << "memory";
    node.writing.reset();
    node.loop->OnWritten();
  }

  // Until nothing is under way.
  void Exchange() {
    for (auto& [id, node] : nodes_) {
      if (node->loop != nullptr) Run(id);
    }
    while (!under_way.empty()) {
      auto [from, message] = std::move(under_way.front());
      under_way.pop_front();
      const auto it = nodes_.find(message.to);
      if (it == nodes_.end() || it->second->loop == nullptr) continue;
      (void)it->second->loop->OnMessage(message.group, message.data, message.all_have);
      Run(message.to);
    }
  }

  void TickAll(int ticks = 1) {
    for (int i = 0; i < ticks; ++i) {
      for (auto& [id, node] : nodes_) {
        if (node->loop != nullptr) node->loop->Tick();
      }
      Exchange();
    }
  }

  void Elect(ReplicaId id) {
    CHECK(loop(id).Campaign(0).ok()) << "campaign";
    Exchange();
    CHECK(Leads(id)) << id << " was not elected";
  }
  bool Leads(ReplicaId id) {
    const absl::StatusOr<RaftGroup::Status> status = loop(id).GetStatus(0);
    return status.ok() && status->role == Role::kLeader;
  }

  void Propose(ReplicaId id, std::string entry) {
    loop(id).Submit({.group = 0, .number = ++last_number_, .entry = std::move(entry)});
  }

  // The events of a type heard so far, which are taken away.
  template <typename T>
  std::vector<T> TakeEvents(ReplicaId id) {
    std::vector<T> taken;
    std::vector<LogEvent> rest;
    for (LogEvent& event : nodes_.at(id)->events) {
      if (T* const wanted = std::get_if<T>(&event)) {
        taken.push_back(std::move(*wanted));
      } else {
        rest.push_back(std::move(event));
      }
    }
    nodes_.at(id)->events = std::move(rest);
    return taken;
  }

 private:
  absl::Status Boot(Node& node) {
    node.loop = std::make_unique<RaftLoop>(options_, node.store);
    return node.loop->AddGroup(
        {.group = 0, .replica = node.id, .applied = node.applied, .conf_state = node.conf_state});
  }
  static void Take(Node& node, LogEvent event) {
    if (const auto* committed = std::get_if<Committed>(&event)) {
      for (const CommittedEntry& entry : committed->entries) {
        CHECK(entry.place.index == node.applied.index + 1) << "a gap";
        node.applied = entry.place;
        if (!entry.entry.empty()) node.entries.push_back(entry.entry);
      }
    }
    node.events.push_back(std::move(event));
  }

  const RaftLoopOptions options_;
  std::map<ReplicaId, std::unique_ptr<Node>> nodes_;
  uint64_t last_number_ = 0;
};

}  // namespace cluster

#endif  // TESTS_CLUSTER_LOOP_RIG_H_
