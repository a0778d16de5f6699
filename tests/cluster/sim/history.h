// What the clients of a simulated cluster saw, and what must be true of it: the promises of MQTT
// and of the cluster, kept as simply as possible.
#ifndef TESTS_CLUSTER_SIM_HISTORY_H_
#define TESTS_CLUSTER_SIM_HISTORY_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/cluster/sim/groups.h"
#include "tests/cluster/sim/journal.h"

namespace simulator {

inline constexpr int64_t kNever = -1;

// A message that a client published, or left as its will. Its payload is its name.
struct Published {
  std::string publisher;
  std::string session;      // Of the publisher. Durable publishers have one.
  uint64_t connection = 0;  // Over which it was sent first.
  uint64_t number = 0;      // Ascending, per publisher.
  std::string topic;
  unsigned qos = 0;
  bool retain = false;
  bool expires = false;  // Later than the simulation ends.
  bool is_will = false;
  int64_t sent_ns = 0;  // For the first time.
  std::vector<int64_t> sent_again_ns;
  int64_t acknowledged_ns = kNever;  // When the publisher heard so. Of a will: it is due.
  uint64_t acknowledged_by = 0;      // The life of the node that said so.

  bool accepts_once = false;  // One partition decides, before anybody gets it.
  bool refused = false;       // Its publisher heard so.
  bool received = false;

  bool sent_again() const { return !sent_again_ns.empty(); }
  int64_t last_sent_ns() const { return sent_again() ? sent_again_ns.back() : sent_ns; }
};
std::string Describe(const Published& message, const std::string& payload);

// One session of a subscriber, from CONNACK without Session Present until it ends.
struct SubscriberSession {
  std::string client_id;
  std::string name;  // Of this one of the client's.
  bool durable = false;
  // Payloads that came at first hand: how often, and how often without DUP.
  struct Copies {
    int all = 0;
    int first_hand = 0;
    uint64_t connection = 0;  // Over which the last one came.
  };
  std::map<std::string, Copies> seen;
  uint64_t connection = 0;  // Its number, of those that the client has had.
  uint64_t node_life = 0;   // Of the node that this connection is to.
  // By what is ordered, topic and QoS, as published and as delivered: the latest number.
  std::map<std::tuple<std::string, std::string, unsigned, unsigned>, uint64_t> latest;
  std::set<std::string> ever_subscribed;  // Filters, from when SUBSCRIBE was sent.
  // Filters that are granted at QoS 1 or 2, since SUBACK came: what is published from then on and
  // acknowledged must come.
  std::map<std::string, int64_t> sure;
  std::map<std::string, std::string> last_retained;  // Topic → the payload that came last.
};

class History {
 public:
  explicit History(const Journal& journal) : journal_(journal) {}

  // ---- What was wrong.
  // `promise`: its name, as docs/decisions/0024 lists them.
  void Fail(const std::string& promise, const std::string& words) {
    journal_.Say("BROKEN ", promise, ": ", words);
    failures_.push_back(absl::StrCat(promise, ": ", words));
  }
  // A weakness that is known: counted, and no failure.
  void NoteKnown(const std::string& name) { ++known_[name]; }
  const std::vector<std::string>& failures() const { return failures_; }
  const std::map<std::string, uint64_t>& known() const { return known_; }

  // ---- What happens.
  Published& Add(const std::string& payload, Published message) {
    return messages_[payload] = std::move(message);
  }
  Published* Find(const std::string& payload) {
    const auto found = messages_.find(payload);
    return found == messages_.end() ? nullptr : &found->second;
  }
  // Without a lease a node speaks for those that it can reach alone.
  void LeaseOf(uint64_t life, bool holds, int64_t now_ns) {
    degraded_[life].emplace_back(now_ns, !holds);
  }
  // Other nodes have yet to hear of what it acknowledged meanwhile.
  void OthersUnaware(uint64_t life, bool unaware, int64_t now_ns) {
    unaware_[life].emplace_back(now_ns, unaware);
  }
  // A process died, or a node lost its lease.
  void NodeFailed(int64_t now_ns) { node_failures_.push_back(now_ns); }
  // A node's disk failed: what a partition led there got meanwhile is refused in part.
  void DiskFailed(int64_t from_ns, int64_t through_ns) {
    failing_.emplace_back(from_ns, through_ns);
  }
  // Its publisher is told that it was refused.
  void OnRefused(const std::string& payload);
  // An application message reached a client at `qos`.
  void OnReceived(SubscriberSession& session, const std::string& topic, const std::string& payload,
                  unsigned qos, bool retain, bool dup);
  // It was published, to that topic.
  bool CheckReal(const SubscriberSession& session, const std::string& topic,
                 const std::string& payload);
  Groups& groups() { return groups_; }

  // ---- When everything has come to rest.
  void CheckDelivered(const SubscriberSession& session);
  // `retained`: what a new subscriber got of a topic to which one client alone publishes; empty:
  // nothing.
  void CheckRetained(const std::string& topic, const std::string& retained);

  const std::map<std::string, Published>& messages() const { return messages_; }
  bool MayBeRefused(const Published& message) const;
  // A node failed meanwhile, or its disk.
  bool WasTrouble(int64_t from_ns, int64_t to_ns) const;
  uint64_t deliveries() const { return deliveries_; }
  uint64_t acknowledged() const;
  // The whole of it as a number: two runs of a seed are the same or they are not.
  uint64_t Digest() const;

 private:
  void CheckOrder(SubscriberSession& session, const Published& message, const std::string& payload,
                  unsigned qos);
  // By the life of a node: since when it is so, and since when not.
  using Spells = std::map<uint64_t, std::vector<std::pair<int64_t, bool>>>;
  // It was so for that life at some moment from `from_ns` through `to_ns`.
  static bool Was(const Spells& spells, uint64_t life, int64_t from_ns, int64_t to_ns);
  void CheckCopies(const SubscriberSession& session, const Published& message,
                   const std::string& payload, unsigned qos, bool dup,
                   const SubscriberSession::Copies& copies);
  void CheckRefused(const Published& message, const std::string& payload);
  static bool IsSure(const SubscriberSession& session, const Published& message);

  const Journal& journal_;
  std::map<std::string, Published> messages_;
  Spells degraded_;
  Spells unaware_;
  std::vector<int64_t> node_failures_;
  std::vector<std::pair<int64_t, int64_t>> failing_;
  Groups groups_{*this};
  std::vector<std::string> failures_;
  std::map<std::string, uint64_t> known_;
  uint64_t deliveries_ = 0;
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_HISTORY_H_
