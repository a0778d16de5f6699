// Requests to a partition host, as tests make them.
#ifndef TESTS_STORAGE_REQUESTS_H_
#define TESTS_STORAGE_REQUESTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/core/partition_api.h"
#include "storage/core/publish_parts.h"

namespace storage {

inline Subscribe MakeSubscribe(Token token, const std::string& client_id, uint64_t epoch,
                               const std::string& filter, mqtt::QoS qos) {
  Subscribe subscribe;
  subscribe.token = token;
  subscribe.client_id = client_id;
  subscribe.epoch = epoch;
  subscribe.subscriptions.push_back({.filter = filter, .options = {.qos = qos}});
  return subscribe;
}

// The message as its publisher's, of QoS 2.
inline AcceptInbound MakeAccept(Publish publish, const std::string& client_id, uint64_t epoch,
                                uint16_t packet_id) {
  AcceptInbound accept;
  accept.token = publish.token;
  accept.client_id = client_id;
  accept.epoch = epoch;
  accept.packet_id = packet_id;
  accept.message = std::move(publish.message);
  accept.partitions = publish.partitions;
  accept.targets = std::move(publish.shared_targets);
  return accept;
}

inline Acknowledge MakeAcknowledge(const std::string& client_id, uint64_t epoch, uint64_t sequence,
                                   AckKind kind = AckKind::kPubAck) {
  Acknowledge acknowledge;
  acknowledge.client_id = client_id;
  acknowledge.epoch = epoch;
  acknowledge.entries.push_back({sequence, kind});
  return acknowledge;
}

// Messages as a test makes them, and their parts and answers as a shard does.
class PublishJoiner {
 public:
  // Hands the parts of the message to `take`.
  template <typename Take>
  void Cut(Publish publish, uint32_t partitions, Take&& take) {
    const Token token = publish.token;
    CutIntoParts(std::move(publish), partitions, [&](Publish part) {
      if (token != 0) open_[token].first |= PartitionMask{1} << part.partition;
      take(std::move(part));
    });
  }

  // One answer, of that partition, is to come.
  void Expect(Token token, PartitionId partition) {
    open_[token].first |= PartitionMask{1} << partition;
  }

  bool Awaits(Token token, PartitionId partition) const {
    const auto found = open_.find(token);
    return found != open_.end() && (found->second.first >> partition & 1) != 0;
  }

  // The last answer, with what all of them say; before that nothing. A partition that was asked
  // twice answers twice.
  std::optional<Published> Join(Published answer) {
    const auto found = open_.find(answer.token);
    if (found == open_.end()) return std::nullopt;
    auto& [left, joined] = found->second;
    const PartitionMask bit = PartitionMask{1} << answer.partition;
    if ((left & bit) == 0) return std::nullopt;
    left &= ~bit;
    joined.token = answer.token;
    if (joined.status.ok()) joined.status = answer.status;
    joined.duplicate = joined.duplicate || answer.duplicate;
    if (left != 0) return std::nullopt;
    Published all = std::move(joined);
    open_.erase(found);
    return all;
  }
  // Those for which the partition has not answered.
  std::vector<Token> Unanswered(PartitionId partition) const {
    std::vector<Token> tokens;
    for (const auto& [token, open] : open_) {
      if ((open.first >> partition & 1) != 0) tokens.push_back(token);
    }
    return tokens;
  }
  void Clear() { open_.clear(); }

 private:
  std::map<Token, std::pair<PartitionMask, Published>> open_;  // With those that have not answered.
};

}  // namespace storage

#endif  // TESTS_STORAGE_REQUESTS_H_
