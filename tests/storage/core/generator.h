// Random entries for a partition.
#ifndef TESTS_STORAGE_CORE_GENERATOR_H_
#define TESTS_STORAGE_CORE_GENERATOR_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/rng.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/partition.h"
#include "tests/storage/core/harness.h"
#include "tests/storage/core/model.h"

namespace storage {

// Makes entries that are likely to mean something to the model's present state.
class Generator {
 public:
  Generator(uint64_t seed, const Model& model) : rng_(seed), model_(model) {}

  pb::Entry Next() {
    pb::Entry entry;
    if (rng_.Chance(0.3)) now_ += static_cast<int64_t>(rng_.Below(4000));
    const uint64_t commands = rng_.Chance(0.1) ? 20 + rng_.Below(30) : 1 + rng_.Below(4);
    for (uint64_t i = 0; i < commands; ++i) {
      pb::Command& command = *entry.add_commands();
      command.set_time_unix_ms(now_);
      command.set_order(++order_);
      Fill(command);
    }
    return entry;
  }
  int64_t now() const { return now_; }

  // The partition is raised to level 1 at some time.
  bool raises = false;

 private:
  std::string Client() { return "c" + std::to_string(rng_.Below(5)); }
  uint64_t Epoch(const std::string& client) {
    const auto found = model_.sessions.find(client);
    const uint64_t epoch = found == model_.sessions.end() ? 1 : found->second.epoch;
    return rng_.Chance(0.03) ? epoch - 1 : epoch;
  }
  template <typename Command>
  std::string Address(Command& command) {
    std::string client = Client();
    command.set_client_id(client);
    command.set_epoch(Epoch(client));
    return client;
  }
  std::string Topic() {
    static const char* const kTopics[] = {"a", "a/b", "a/b/c", "b", "$x/a", "a//"};
    return kTopics[rng_.Below(6)];
  }
  std::string Filter() {
    static const char* const kFilters[] = {"a",   "a/b", "a/#",        "+",          "#",
                                           "+/b", "b",   "$share/g/a", "$share/g/#", "$x/#"};
    return kFilters[rng_.Below(10)];
  }
  std::string Message() {
    Text text;
    text.topic = Topic();
    text.payload = rng_.Chance(0.05) ? "" : "m" + std::to_string(++messages_);
    if (rng_.Chance(0.1)) text.payload += std::string(rng_.Below(300), 'x');
    if (rng_.Chance(0.05)) text.payload += std::string(1000 + rng_.Below(100), 'x');
    text.qos = static_cast<mqtt::QoS>(rng_.Chance(0.1) ? 0 : 1 + rng_.Below(2));
    text.retain = rng_.Chance(0.3);
    text.publisher = rng_.Chance(0.5) ? Client() : "";
    if (rng_.Chance(0.2)) text.expires = now_ + static_cast<int64_t>(rng_.Below(8000));
    return Stored(text);
  }
  void FillSubscription(pb::Subscription& subscription, const std::string& filter) {
    mqtt::SubscriptionOptions options;
    options.qos = static_cast<mqtt::QoS>(rng_.Below(3));
    options.no_local = rng_.Chance(0.2) && filter[0] != '$';
    options.retain_as_published = rng_.Chance(0.5);
    options.retain_handling = static_cast<mqtt::RetainHandling>(rng_.Below(3));
    subscription.set_filter(filter);
    subscription.set_options(options.ToByte());
    subscription.set_subscription_id(static_cast<uint32_t>(rng_.Below(4) * 200));
  }

  void Fill(pb::Command& command) {
    const uint64_t dice = rng_.Below(100);
    if (dice < 6) return FillOpen(*command.mutable_open_session());
    if (dice < 10) return FillClose(*command.mutable_close_session());
    if (dice < 11) {
      if (rng_.Chance(0.3)) {
        auto& close = *command.mutable_close_node();
        close.set_node(static_cast<uint32_t>(rng_.Below(3)));
        close.set_incarnation(static_cast<uint32_t>(rng_.Below(4)));
      } else {
        Address(*command.mutable_fire_will());
        if (rng_.Chance(0.2)) {
          command.mutable_fire_will()->set_orphan_at_unix_ms(now_);
        } else if (rng_.Chance(0.8)) {
          command.mutable_fire_will()->set_outbox_at_unix_ms(now_);
        }
      }
      return;
    }
    if (dice < 12) {
      if (rng_.Chance(0.5)) return void(Address(*command.mutable_expire_session()));
      if (raises && rng_.Chance(0.1)) return command.mutable_raise_level()->set_level(1);
      if (rng_.Chance(0.3)) return FillAssign(*command.mutable_outbox_assign());
      return FillDone(*command.mutable_outbox_done());
    }
    if (dice < 20) return FillSubscribe(*command.mutable_subscribe());
    if (dice < 22) {
      Address(*command.mutable_unsubscribe());
      return command.mutable_unsubscribe()->add_filters(Filter());
    }
    if (dice < 60) return FillEnqueue(*command.mutable_enqueue());
    if (dice < 82) return FillAcknowledge(*command.mutable_acknowledge());
    if (dice < 85) {
      Address(*command.mutable_remember_inbound());
      return command.mutable_remember_inbound()->set_packet_id(
          static_cast<uint32_t>(1 + rng_.Below(6)));
    }
    if (dice < 88) {
      Address(*command.mutable_release_inbound());
      return command.mutable_release_inbound()->add_packet_ids(
          static_cast<uint32_t>(1 + rng_.Below(6)));
    }
    if (dice < 94) return command.mutable_set_retained()->set_message(Message());
    if (dice < 99) return FillPage(*command.mutable_enqueue_retained_page());
    FillLimits(*command.mutable_set_limits()->mutable_limits());
  }

  void FillOpen(pb::OpenSession& open) {
    open.set_client_id(Client());
    open.set_version(5);
    open.set_clean_start(rng_.Chance(0.2));
    open.set_expiry_s(rng_.Chance(0.2)   ? 0
                      : rng_.Chance(0.3) ? kExpiryNever
                                         : static_cast<uint32_t>(1 + rng_.Below(10)));
    open.set_window_messages(static_cast<uint32_t>(1 + rng_.Below(4)));
    if (rng_.Chance(0.4)) open.set_will(Message());
    open.set_will_delay_s(static_cast<uint32_t>(rng_.Below(6)));
    open.mutable_owner()->set_node(static_cast<uint32_t>(rng_.Below(3)));
    open.mutable_owner()->set_incarnation(static_cast<uint32_t>(rng_.Below(4)));
    open.mutable_owner()->set_connection(rng_.Below(3));
  }
  void FillClose(pb::CloseSession& close) {
    const std::string client = Address(close);
    close.set_cause(rng_.Chance(0.4) ? pb::CloseSession::NORMAL : pb::CloseSession::WITH_WILL);
    if (rng_.Chance(0.1)) close.set_expiry_s(static_cast<uint32_t>(rng_.Below(5)));
    if (rng_.Chance(0.6)) close.set_sent_through(Sequence(client));
  }
  void FillSubscribe(pb::Subscribe& subscribe) {
    Address(subscribe);
    for (uint64_t i = 1 + rng_.Below(2); i > 0; --i) {
      FillSubscription(*subscribe.add_subscriptions(), Filter());
    }
  }
  void FillEnqueue(pb::Enqueue& enqueue) {
    enqueue.set_message(Message());
    enqueue.set_match(rng_.Chance(0.8));
    if (rng_.Chance(0.3)) {
      pb::Enqueue::Target& target = *enqueue.add_targets();
      target.set_client_id(Client());
      FillSubscription(*target.mutable_subscription(),
                       rng_.Chance(0.5) ? "$share/g/a" : "$share/g/#");
      target.mutable_subscription()->set_options(static_cast<uint32_t>(rng_.Below(3)));
      target.set_last_choice(rng_.Chance(0.5));
    }
  }
  // Mostly one that is open, near the head.
  uint64_t Sequence(const std::string& client) {
    const auto found = model_.sessions.find(client);
    if (found == model_.sessions.end() || found->second.queue.empty()) return rng_.Below(5);
    const std::vector<ModelEntry>& queue = found->second.queue;
    if (rng_.Chance(0.05)) return rng_.Below(found->second.tail + 3);
    return queue[rng_.Below(std::min<size_t>(queue.size(), 12))].sequence;
  }
  void FillAcknowledge(pb::Acknowledge& acknowledge) {
    const std::string client = Address(acknowledge);
    for (uint64_t i = 1 + rng_.Below(5); i > 0; --i) {
      const uint64_t kind = rng_.Below(3);
      if (kind == 0) acknowledge.add_puback(Sequence(client));
      if (kind == 1) acknowledge.add_pubrec(Sequence(client));
      if (kind == 2) acknowledge.add_pubcomp(Sequence(client));
    }
  }
  void FillPage(pb::EnqueueRetainedPage& page) {
    const std::string client = Address(page);
    const auto found = model_.sessions.find(client);
    if (found != model_.sessions.end() && !found->second.replays.empty()) {
      page.set_replay(found->second.replays.begin()->first);
      if (rng_.Chance(0.3)) page.add_over(1 + rng_.Below(found->second.last_replay + 1));
    }
    for (uint64_t i = rng_.Below(4); i > 0; --i) page.add_messages(Message());
    page.set_next_cursor(std::to_string(messages_));
    page.set_last(rng_.Chance(0.5));
  }
  void FillDone(pb::OutboxDone& done) {
    for (const auto& [number, record] : model_.outbox) {
      if (rng_.Chance(0.5)) done.add_numbers(number);
    }
    if (rng_.Chance(0.2)) done.add_numbers(1 + rng_.Below(20));
  }
  void FillAssign(pb::OutboxAssign& assign) {
    assign.set_number(model_.outbox.empty() ? 1 : model_.outbox.begin()->first + rng_.Below(3));
    for (uint64_t i = 0; i < 1 + rng_.Below(2); ++i) {
      pb::SharedTarget& target = *assign.add_targets();
      target.set_client_id(Client());
      FillSubscription(*target.mutable_subscription(), Filter());
    }
  }
  void FillLimits(pb::Limits& limits) {
    if (rng_.Chance(0.3)) limits.set_outbox_messages_max(1 + rng_.Below(10));
    if (rng_.Chance(0.7)) limits.set_queue_messages_max(5 + rng_.Below(100));
    if (rng_.Chance(0.3)) limits.set_queue_bytes_max(500 + rng_.Below(5000));
    if (rng_.Chance(0.6)) limits.set_queue_policy(pb::Limits::DROP_OLDEST);
    if (rng_.Chance(0.3)) limits.set_retained_messages_max(1 + rng_.Below(6));
  }

  base::Rng rng_;
  const Model& model_;
  int64_t now_ = 1'000'000;
  uint64_t order_ = 0;
  uint64_t messages_ = 0;
};

}  // namespace storage

#endif  // TESTS_STORAGE_CORE_GENERATOR_H_
