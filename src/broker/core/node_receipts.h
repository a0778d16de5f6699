// Which forwarded messages other nodes are not known to have, and what waits for that.
#ifndef BROKER_CORE_NODE_RECEIPTS_H_
#define BROKER_CORE_NODE_RECEIPTS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "broker/core/router.h"
#include "storage/core/partition_api.h"

namespace broker {

// Part of one shard, used on its thread. Receipts ascend in the order of the messages, and a node
// has them in that order: see Forwarding. Bounded by what may be on its way to other nodes, for who
// publishes to one that is behind waits.
class NodeReceipts {
 public:
  // `what` waits until each of these nodes (one at least) has the message, or is gone; or, unless
  // it is patient, is let go of.
  void Expect(uint64_t receipt, NodeMask nodes, storage::Token what, bool patient = false) {
    expected_.push_back({receipt, nodes, what, patient});
  }
  // The node has all up to that receipt. Adds to `done` what waits for no node any more, in order.
  void Has(uint32_t node, uint64_t receipt, std::vector<storage::Token>& done) {
    const uint64_t before = has_[node];
    if (receipt <= before) return;
    has_[node] = receipt;
    for (auto one = After(before); one != expected_.end() && one->receipt <= receipt; ++one)
      Settle(*one, node, done);
    Tidy();
  }
  // Nobody is there any more who could miss anything.
  void Gone(uint32_t node, std::vector<storage::Token>& done) {
    if (!expected_.empty()) Has(node, expected_.back().receipt, done);
  }
  // It cannot be reached, and nobody can say whether it is gone.
  void LetGoOf(uint32_t node, std::vector<storage::Token>& done) {
    if (expected_.empty()) return;
    const uint64_t before = std::exchange(let_go_[node], expected_.back().receipt);
    for (auto one = After(before); one != expected_.end(); ++one) {
      if (!one->patient) Settle(*one, node, done);
    }
    Tidy();
  }
  size_t size() const { return expected_.size(); }

 private:
  struct Expected {
    uint64_t receipt = 0;
    NodeMask nodes = 0;  // Those that owe it.
    storage::Token what = 0;
    bool patient = false;
  };
  std::deque<Expected>::iterator After(uint64_t receipt) {
    return std::partition_point(expected_.begin(), expected_.end(),
                                [&](const Expected& one) { return one.receipt <= receipt; });
  }
  void Settle(Expected& one, uint32_t node, std::vector<storage::Token>& done) {
    const NodeMask bit = NodeMask{1} << node;
    if ((one.nodes & bit) == 0) return;
    one.nodes &= ~bit;
    if (one.nodes != 0) return;
    done.push_back(one.what);
    ++settled_;
  }
  // Those behind one that waits for long go when they are most of all, so each is moved but a few
  // times.
  void Tidy() {
    while (!expected_.empty() && expected_.front().nodes == 0) {
      expected_.pop_front();
      --settled_;
    }
    if (settled_ <= kSettledMin || settled_ <= expected_.size() / 2) return;
    std::erase_if(expected_, [](const Expected& one) { return one.nodes == 0; });
    settled_ = 0;
  }

  static constexpr size_t kSettledMin = 1024;

  std::deque<Expected> expected_;
  size_t settled_ = 0;  // Of these.
  std::array<uint64_t, kNodesMax> has_{};
  std::array<uint64_t, kNodesMax> let_go_{};  // Looked at up to this one.
};

// Of the message that is being routed: which nodes are to have it before it is acknowledged, by
// which receipts. Part of one shard, used on its thread.
//
// A node has a block of messages at a time, and says so with the greatest receipt in it. What goes
// to one node twice (to a member of a `$share` group and by its routes) may be in two blocks, so
// the second copy has a receipt of its own.
class OwedReceipts {
 public:
  struct Owed {
    uint64_t receipt = 0;
    NodeMask nodes = 0;
  };

  void Begin() {
    earlier_.clear();
    nodes_ = 0;
    ++receipt_;
  }
  // The receipt of a copy for which these nodes are waited, if any. Before it is forwarded.
  uint64_t Owe(NodeMask nodes) {
    if ((nodes_ & nodes) != 0) Next();
    nodes_ |= nodes;
    return receipt_;
  }
  bool any() const { return nodes_ != 0 || !earlier_.empty(); }

  // Another message comes between: what is owed of this one is set aside.
  std::vector<Owed> Pause() {
    Next();
    return std::exchange(earlier_, {});
  }
  void Resume(std::vector<Owed> paused) {
    Begin();
    earlier_ = std::move(paused);
  }

  // `what` waits for all of them. How many times `receipts` will say so.
  uint32_t Expect(NodeReceipts& receipts, storage::Token what, bool patient) {
    Next();
    for (const Owed& owed : earlier_) receipts.Expect(owed.receipt, owed.nodes, what, patient);
    const auto count = static_cast<uint32_t>(earlier_.size());
    earlier_.clear();
    return count;
  }

 private:
  void Next() {
    if (nodes_ != 0) earlier_.push_back({receipt_, std::exchange(nodes_, 0)});
    ++receipt_;
  }

  uint64_t receipt_ = 0;
  NodeMask nodes_ = 0;         // Of this receipt.
  std::vector<Owed> earlier_;  // Keeps its memory.
};

}  // namespace broker
#endif  // BROKER_CORE_NODE_RECEIPTS_H_
