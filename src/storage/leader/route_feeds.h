// What leaders here tell nodes that have no replica of their partitions.
#ifndef STORAGE_LEADER_ROUTE_FEEDS_H_
#define STORAGE_LEADER_ROUTE_FEEDS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "storage/core/host_message.h"
#include "storage/leader/node.h"

namespace storage {

// Part of the host, used on its thread. A feed to one node of one partition's routes: when what
// others have acknowledged is applied here, all that there are, a part at a time, each when the
// node has taken the one before; and changes, with each part and behind the last at the end of each
// round. A change of what is still to come is told at once, and left out of the part. If the node
// lags far behind, or its link broke, the feed begins anew.
class RouteFeeds {
 public:
  explicit RouteFeeds(Node& node) : node_(node) {}

  // ---- Who is told. `term`: in which the partition is led here; the feeds of a later one replace
  // those of an earlier one, whoever leads.
  void Lead(PartitionId id, uint64_t term);
  void LeadNoMore(PartitionId id);
  // What is on its way to that node is lost, or it has just come.
  void Restart(NodeId to);
  void Forget(NodeId to);

  // ---- What has changed. Of a partition that is not led here it is told to nobody.
  bool Tells(PartitionId id) const { return (told_ & BitOf(id)) != 0; }
  void Tell(PartitionId id, const RouteChange& change);
  void Tell(PartitionId id, const ShareMemberChange& change);

  // Begins what is to begin, and sends what there is. `may_act`: the partition's leader has applied
  // what others have proposed.
  void Run(const std::function<bool(PartitionId)>& may_act);
  // What is applied, that node is told: for a question that follows.
  void TellThrough(PartitionId id, NodeId to);
  void Hear(NodeId from, const FeedTaken& taken);

 private:
  using Place = std::pair<PartitionId, NodeId>;
  struct Feed {
    enum class State : uint8_t {
      kWaits,    // For the leader.
      kCatches,  // Until what others have acknowledged is applied.
      kParts,
      kWhole,
    };
    State state = State::kWaits;
    uint64_t feed = 0;
    uint64_t number = 0;  // Sent last.
    uint64_t taken = 0;
    uint64_t index = 0;  // Told last, when it was whole.
    // ---- What there was when it began, and how much of it has been told.
    std::vector<std::string> filters;
    size_t next_filter = 0;
    std::vector<std::pair<std::string, std::string>> members;  // Client Identifier and filter.
    size_t next_member = 0;
    absl::flat_hash_set<std::string> changed;  // Filters: what is told of them is newer.
    // ---- Changes that are not sent.
    std::vector<RouteChange> routes;
    std::vector<ShareMemberChange> share;
    bool all_read() const { return next_filter == filters.size() && next_member == members.size(); }
    size_t waiting() const { return routes.size() + share.size(); }
  };

  void Begin(PartitionId id, NodeId to, Feed& feed);
  void Collect(PartitionId id, Feed& feed) const;
  void AddPart(PartitionId id, Feed& feed, FeedRoutes& message) const;
  void Send(PartitionId id, NodeId to, Feed& feed, bool even_if_empty);
  static void StartAnew(Feed& feed) { feed = Feed(); }

  Node& node_;
  std::map<PartitionId, uint64_t> led_;  // With their terms.
  std::map<Place, Feed> feeds_;
  PartitionMask told_ = 0;  // Partitions of which there is a feed.
  uint64_t begun_ = 0;
};

// How a durable member of a `$share` group is now; kGone: it is none. `packet_size_max` is known to
// the leader only.
ShareMemberChange ShareMemberNow(const Leader& leader, std::string_view client_id,
                                 const std::string& filter);

}  // namespace storage

#endif  // STORAGE_LEADER_ROUTE_FEEDS_H_
