// SUBSCRIBE and UNSUBSCRIBE of durable sessions: committed, then known to every shard, then
// answered.
#ifndef STORAGE_LEADER_SUBSCRIPTIONS_H_
#define STORAGE_LEADER_SUBSCRIPTIONS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"
#include "storage/leader/part.h"

namespace storage {

// A SUBSCRIBE that is proposed, and not applied yet: its filters by which messages are queued. It
// lives as long as its step.
struct Subscribing {
  std::string client_id;
  std::vector<std::string> filters;
};

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

  // With queue_full: refuse, the sessions to whose queues the message will go by subscriptions that
  // are proposed and not applied, and by how many of one SUBSCRIBE; one may come several times.
  void ForEachToBe(std::string_view topic,
                   absl::FunctionRef<void(const Session&, size_t)> visit) const;

  void On(RouteChanged& effect);
  void On(ShareMemberChanged& effect);

 private:
  void Answer(const AnswerSubscribe& step);
  void Answer(const ShardAddress& shard, UnsubscribeDone done);
  std::shared_ptr<const Subscribing> Note(const Subscribe& request);

  // Some are gone. Bounded by what shards may have unanswered.
  std::vector<std::weak_ptr<const Subscribing>> under_way_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_SUBSCRIPTIONS_H_
