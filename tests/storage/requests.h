// Requests to a partition host, as tests make them.
#ifndef TESTS_STORAGE_REQUESTS_H_
#define TESTS_STORAGE_REQUESTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "storage/core/partition_api.h"

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

inline Acknowledge MakeAcknowledge(const std::string& client_id, uint64_t epoch, uint64_t sequence,
                                   AckKind kind = AckKind::kPubAck) {
  Acknowledge acknowledge;
  acknowledge.client_id = client_id;
  acknowledge.epoch = epoch;
  acknowledge.entries.push_back({sequence, kind});
  return acknowledge;
}

// The partitions' answers to one Publish, as its shard joins them.
class PublishAnswers {
 public:
  // The last one, with what all of them say; before that nothing.
  std::optional<Published> Join(Published answer) {
    if (answer.parts == 1) return answer;
    auto& [left, joined] = open_.try_emplace(answer.token, answer.parts, answer).first->second;
    if (joined.status.ok()) joined.status = answer.status;
    joined.duplicate = joined.duplicate || answer.duplicate;
    if (--left != 0) return std::nullopt;
    Published all = std::move(joined);
    open_.erase(answer.token);
    return all;
  }
  void Clear() { open_.clear(); }

 private:
  std::map<Token, std::pair<uint32_t, Published>> open_;
};

}  // namespace storage

#endif  // TESTS_STORAGE_REQUESTS_H_
