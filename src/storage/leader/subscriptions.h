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

  void On(RouteChanged& effect);
  void On(ShareMemberChanged& effect);

 private:
  void Answer(const AnswerSubscribe& step);
  void Answer(const ShardAddress& shard, UnsubscribeDone done);
};

}  // namespace storage

#endif  // STORAGE_LEADER_SUBSCRIPTIONS_H_
