// What members of `$share` groups saw, and what must be true of it.
#ifndef TESTS_CLUSTER_SIM_GROUPS_H_
#define TESTS_CLUSTER_SIM_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace simulator {

class History;
struct Published;
struct SubscriberSession;

// A message says by its Subscription Identifier which group it came through: one that came to the
// same client by another subscription is another copy.
struct SharedFilter {
  const char* filter;  // With $share and the group's name.
  const char* topics;  // The Topic Filter in it.
  uint32_t subscription_id;
  bool durable_only;  // Clients without a session that is kept do not join.
};
inline constexpr SharedFilter kSharedFilters[] = {
    {"$share/d/#", "#", 1, true},
    {"$share/m/t/+", "t/+", 2, false},
};
const SharedFilter* FindShared(std::string_view filter);
const SharedFilter* FindShared(uint32_t subscription_id);

class Groups {
 public:
  explicit Groups(History& history) : history_(history) {}

  // A message came to a member through the group.
  void OnReceived(const SubscriberSession& session, const SharedFilter& shared,
                  const std::string& payload, unsigned qos, bool retain, bool dup, int64_t now_ns);

  // A member comes or goes: meanwhile a message may be chosen for it and handed on to another one.
  enum class Change {
    kMembership,   // Until it has heard that it is a member, or is none any more. At QoS 0 longer:
                   // nodes hear later whose connection is to get nothing.
    kConnection,   // Of a member whose session is kept: QoS 0 follows its connection.
    kSessionEnds,  // With what was chosen for it.
  };
  size_t Changes(const SharedFilter& shared, Change what, int64_t from_ns,
                 int64_t through_ns = std::numeric_limits<int64_t>::max());
  void HasChanged(const SharedFilter& shared, size_t which, int64_t through_ns) {
    groups_[shared.filter].changes[which].through_ns = through_ns;
  }

  // When everything has come to rest: of each group that has had a member with one of these
  // sessions ever since a message was sent that was acknowledged, somebody got it.
  void CheckDelivered(const std::vector<const SubscriberSession*>& durable_members);

 private:
  struct Copy {
    std::string member;  // Its session.
    bool durable = false;
    unsigned qos = 0;
    bool dup = false;
  };
  struct Changing {
    Change what = Change::kMembership;
    int64_t from_ns = 0;
    int64_t through_ns = 0;
  };
  struct Group {
    std::map<std::string, std::vector<Copy>> copies;  // By payload.
    // By member, whose, topic and QoS, as published and as delivered: the latest number.
    std::map<std::tuple<std::string, std::string, std::string, unsigned, unsigned>, uint64_t>
        latest;
    std::vector<Changing> changes;
  };

  void CheckCopies(const SharedFilter& shared, const Published& message, const std::string& payload,
                   const std::vector<Copy>& copies, int64_t now_ns);
  void CheckOrder(Group& group, const SharedFilter& shared, const SubscriberSession& session,
                  const Published& message, const std::string& payload, unsigned qos,
                  int64_t now_ns);
  void CheckLost(const Group& group, const SharedFilter& shared, const Published& message,
                 const std::string& payload);

  History& history_;
  std::map<std::string_view, Group> groups_;  // By filter.
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_GROUPS_H_
