// Requests to a partition host, as tests make them.
#ifndef TESTS_STORAGE_REQUESTS_H_
#define TESTS_STORAGE_REQUESTS_H_

#include <cstdint>
#include <string>

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

}  // namespace storage

#endif  // TESTS_STORAGE_REQUESTS_H_
