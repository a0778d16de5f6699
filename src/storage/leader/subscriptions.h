// SUBSCRIBE and UNSUBSCRIBE of durable sessions: committed, then known to every shard, then
// answered.
#ifndef STORAGE_LEADER_SUBSCRIPTIONS_H_
#define STORAGE_LEADER_SUBSCRIPTIONS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"
#include "storage/leader/part.h"

namespace storage {

class Subscriptions : public LeaderPart {
 public:
  explicit Subscriptions(Leader& leader) : LeaderPart(leader) {}

  void Handle(const Asker& from, Subscribe& request);
  void Finish(AnswerSubscribe& step);
  void Refuse(AnswerSubscribe& step, const absl::Status& why);

  void Handle(const Asker& from, Unsubscribe& request);
  void Finish(AnswerUnsubscribe& step);
  void Refuse(AnswerUnsubscribe& step, const absl::Status& why);

  // Applied already: answered like the first time, when all shards know.
  void Repeat(const Asker& from, Subscribe& request);
  void Repeat(const Asker& from, Unsubscribe& request);

  // Under a new leader.
  void Recount();

  void On(RouteChanged& effect);
  void On(ShareMemberChanged& effect);
  // Whether a session may have subscribed to something.
  bool may_have_routes() const { return subscribed_ || filters_ != 0; }
  void AddRoutes(uint64_t filters) { filters_ += filters; }

 private:
  void Answer(const AnswerSubscribe& step);
  void Answer(const ShardAddress& shard, UnsubscribeDone done);

  uint64_t filters_ = 0;     // Routes to this partition.
  bool subscribed_ = false;  // They may be more: somebody has subscribed.
};

}  // namespace storage

#endif  // STORAGE_LEADER_SUBSCRIPTIONS_H_
