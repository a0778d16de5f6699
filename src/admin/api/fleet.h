// All nodes of the cluster as the one that is asked sees them: it asks the others, and says which
// of them did not answer.
#ifndef ADMIN_API_FLEET_H_
#define ADMIN_API_FLEET_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "admin/api/broker_access.h"
#include "admin/api/calls.h"
#include "admin/api/elsewhere.h"
#include "admin/api/method.h"
#include "admin/api/moments.h"
#include "base/cluster_view.h"
#include "base/mutex.h"
#include "base/node_call.h"

namespace admin {

// What another node may take for its answer. One whose link is lost, which takes three seconds, is
// not waited for at all.
inline constexpr absl::Duration kNodePatience = absl::Seconds(10);
// Where it has to look at all that it has, or to do something about it.
inline constexpr absl::Duration kNodeLongPatience = absl::Seconds(25);
static_assert(kNodeLongPatience < kCallPatience);
// How long a call waits for a partition that nobody leads just now to get a leader. That takes a
// second or so after a start or a death, and an operator should not have to call again for it.
inline constexpr absl::Duration kLeaderPatience = absl::Seconds(10);
static_assert(kLeaderPatience < kNodeLongPatience);

// Any thread. Outlives every call.
class Fleet {
 public:
  using Message = google::protobuf::Message;

  // What a node said: a status of its own, or a response. `Response` is a message of the API.
  template <typename Response>
  struct Said {
    absl::Status status;
    Response response;
    std::optional<base::NodeConnection> elsewhere;
    bool not_led = false;
  };
  // An error: it did not answer.
  template <typename Response>
  using OnSaid = std::function<void(absl::StatusOr<Said<Response>>)>;

  // `here`: what a node answers by itself, for those who pass calls on. Both outlive it.
  Fleet(const BrokerAccess& broker, const Methods& here) : broker_(broker), here_(here) {}
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  const BrokerAccess& broker() const { return broker_; }
  const Methods& here() const { return here_; }

  // Nothing: this node is alone, or not in its cluster yet.
  std::optional<base::ClusterView> View() const;

  // The number of a member, by its identifier or number. Errors: kNotFound, in words.
  static absl::StatusOr<uint32_t> NumberOf(const base::ClusterView& view, const std::string& node);

  // A member that did not answer, and why.
  static pb::MissingNode Missing(const base::ClusterView& view, uint32_t node,
                                 const absl::Status& why);

  // What a node answers of what is stored: its part of it is that of the partitions that it leads.
  enum class Stored {
    kNothing,
    kAgain,  // Asked again, it says all of it again.
    kMore,   // Asked again, it says what was not done before.
  };

  // Who passes the call on, and to which of its connections.
  struct Passing {
    Caller caller;
    std::string method;  // "/mqttd.admin.v1.Clients/List".
    absl::Duration within = kNodePatience;
    std::optional<base::NodeConnection> connection;
    Stored stored = Stored::kNothing;
    // Until when leaders are waited for, monotonic, in all parts of a call together. Not set:
    // kLeaderPatience from now on.
    std::optional<absl::Duration> leaders_until;
  };
  absl::Duration Now() const { return broker_.sources().clock->Monotonic(); }
  // Waits for a moment and then goes on with `again`. False: it is later than that already.
  bool WaitUntil(absl::Duration until, std::function<void()> again) const {
    return Now() < until && moments_.Wait(std::move(again));
  }

  // Has a node answer by itself; this one, too.
  template <typename Response>
  void Ask(uint32_t node, const Passing& call, const Message& request,
           OnSaid<Response> done) const {
    AskNode(node, call, request, Reading<Response>(std::move(done)));
  }

  // Has the leader of a partition answer: who is believed to be it, then other nodes that have a
  // replica, until one is. While most of these answer that they do not lead, one of them is about
  // to: they are asked again.
  template <typename Response>
  void AskLeader(uint32_t partition, const Passing& call, const Message& request,
                 OnSaid<Response> done) const {
    AskOneOf(partition, call, request, Reading<Response>(std::move(done)));
  }

  // Has the node answer that knows about a Client Identifier: the leader of its partition, and if
  // that says so the node to which the client is connected.
  template <typename Response>
  void AskAbout(const std::string& client_id, const Passing& call, const Message& request,
                Reply<Response> reply) const {
    AskAboutClient(client_id, call, request,
                   Reading<Response>([reply = std::move(reply)](auto said) {
                     if (!said.ok()) return reply(said.status());
                     if (!said->status.ok()) return reply(said->status);
                     reply(std::move(said->response));
                   }));
  }

  // What all members say: this one, then the others that answered, by number. What is stored is
  // there once: while partitions get other leaders they are asked again.
  template <typename Response>
  struct Gathered {
    Response here;
    std::vector<Response> others;
    std::vector<pb::MissingNode> missing;  // These did not answer.
    std::vector<pb::MissingNode> unled;    // Nor did anybody for partitions of these.

    void AddMissingTo(google::protobuf::RepeatedPtrField<pb::MissingNode>& all) const {
      for (const pb::MissingNode& each : missing) *all.Add() = each;
      for (const pb::MissingNode& each : unled) *all.Add() = each;
    }
  };
  // An error: this node's.
  template <typename Response>
  void Gather(const Passing& call, const Message& request,
              std::function<void(absl::StatusOr<Gathered<Response>>)> done) const {
    AskAll(call, request, [done = std::move(done)](const Answers& answers) {
      Gathered<Response> gathered;
      for (const Answer& answer : answers.all) {
        const bool here = answer.node == answers.view.node && !answer.earlier;
        auto said = Read<Response>(answer.reply);
        const absl::Status status = said.ok() ? said->status : said.status();
        if (!status.ok() && here) return done(status);
        if (!status.ok()) {
          gathered.missing.push_back(Missing(answers.view, answer.node, status));
        } else if (here) {
          gathered.here = std::move(said->response);
        } else {
          gathered.others.push_back(std::move(said->response));
        }
      }
      gathered.unled = answers.unled;
      done(std::move(gathered));
    });
  }

  // A call that another node passes on.
  void Serve(uint32_t from, base::NodeCall call, std::function<void(base::NodeReply)> reply);

  // Once a second: who waits for a leader tries again.
  void Tick() { moments_.Tick(); }
  // Nobody is waited for any more.
  void Stop() { moments_.Stop(); }

 private:
  struct Answer {
    uint32_t node = 0;
    absl::StatusOr<base::NodeReply> reply;
    bool earlier = false;  // In a round before the last one.
  };
  struct Answers {
    base::ClusterView view;
    std::vector<Answer> all;
    std::vector<pb::MissingNode> unled;
  };
  class Round;
  class Rounds;
  class Search;

  template <typename Response>
  static absl::StatusOr<Said<Response>> Read(const absl::StatusOr<base::NodeReply>& reply) {
    if (!reply.ok()) return reply.status();
    Said<Response> said;
    said.status = reply->status;
    said.elsewhere = reply->elsewhere;
    said.not_led = reply->not_led;
    if (said.status.ok() && !said.response.ParseFromString(reply->response))
      return absl::UnavailableError("its answer cannot be read: it may be of another release");
    return said;
  }
  template <typename Response>
  static base::NodeAnswer Reading(OnSaid<Response> done) {
    return [done = std::move(done)](const absl::StatusOr<base::NodeReply>& reply) {
      done(Read<Response>(reply));
    };
  }

  void AskNode(uint32_t node, const Passing& call, const Message& request,
               base::NodeAnswer done) const;
  void AskOneOf(uint32_t partition, const Passing& call, const Message& request,
                base::NodeAnswer done) const;
  void AskAboutClient(const std::string& client_id, const Passing& call, const Message& request,
                      base::NodeAnswer done) const;
  void AskAll(const Passing& call, const Message& request,
              std::function<void(const Answers&)> done) const;
  void AnswerHere(const base::NodeCall& call, const Caller& caller,
                  std::function<void(base::NodeReply)> reply) const;

  const BrokerAccess& broker_;
  const Methods& here_;
  base::Mutex mutex_;
  // Calls that others pass on.
  std::map<const Method*, std::atomic<uint32_t>> serving_ ABSL_GUARDED_BY(mutex_);
  mutable Moments moments_;
};

}  // namespace admin

#endif  // ADMIN_API_FLEET_H_
