// How much one shard has on its way to each other one: publishers wait for a shard that falls
// behind, for mailboxes have no bound of their own.
#ifndef BROKER_CORE_FORWARD_CREDIT_H_
#define BROKER_CORE_FORWARD_CREDIT_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "storage/core/partition_api.h"

namespace broker {

// Both ends of it for one shard, used on its thread. What came is told to the sender in quarters of
// the limit: seldom, and never too late, for a sender that has reached the limit is owed more.
class ForwardCredit {
 public:
  // On their way from one shard to another; above, publishers that send there are not read from.
  static constexpr uint64_t kMessagesMax = 16 * 1024;
  static constexpr uint64_t kBytesMax = 64 * 1024 * 1024;

  struct Amount {
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };

  explicit ForwardCredit(uint32_t shards) : on_way_(shards), untold_(shards) {}

  // ---- Sender.
  void Sent(storage::ShardId to, uint64_t bytes) {
    ++on_way_[to].messages;
    on_way_[to].bytes += bytes;
  }
  bool IsBehind(storage::ShardId to) const { return Reaches(on_way_[to], 1); }
  bool AnyIsBehind() const {
    return std::any_of(on_way_.begin(), on_way_.end(),
                       [](const Amount& amount) { return Reaches(amount, 1); });
  }
  // Far enough for those who wait for it to go on.
  bool HasCaughtUp(storage::ShardId to) const { return !Reaches(on_way_[to], 2); }
  void Taken(storage::ShardId by, Amount amount) {
    Amount& left = on_way_[by];
    CHECK(amount.messages <= left.messages && amount.bytes <= left.bytes)
        << "a shard takes what was sent";
    left.messages -= amount.messages;
    left.bytes -= amount.bytes;
  }

  // ---- Receiver.
  void Received(storage::ShardId from, uint64_t bytes) {
    ++untold_[from].messages;
    untold_[from].bytes += bytes;
    if (Reaches(untold_[from], 4)) due_ |= uint64_t{1} << from;
  }
  // Calls tell(shard, amount) for those that are to be told.
  template <typename Tell>
  void TellSenders(Tell&& tell) {
    for (uint64_t rest = std::exchange(due_, 0); rest != 0; rest &= rest - 1) {
      const auto from = static_cast<storage::ShardId>(std::countr_zero(rest));
      tell(from, std::exchange(untold_[from], {}));
    }
  }

 private:
  static bool Reaches(const Amount& amount, uint64_t part) {
    return amount.messages >= kMessagesMax / part || amount.bytes >= kBytesMax / part;
  }

  std::vector<Amount> on_way_;
  std::vector<Amount> untold_;
  uint64_t due_ = 0;  // Bit per shard.
};

}  // namespace broker
#endif  // BROKER_CORE_FORWARD_CREDIT_H_
