#include "storage/leader/route_feeds.h"

#include <algorithm>

#include "absl/time/time.h"
#include "mqtt/topic.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"
#include "storage/leader/log_ledger.h"
#include "storage/leader/read_barriers.h"

namespace storage {
namespace {

// Of what is told in one part; one is on its way.
constexpr size_t kPartBytesMax = 256 << 10;
// Changes that wait, and messages that were not taken: beyond it the feed begins anew, which takes
// no more than what there is.
constexpr size_t kWaitingMax = 65'536;
constexpr uint64_t kOnTheWayMax = 256;

// Of a feed's number: the lower bits count those of a term.
constexpr int kCountBits = 24;
constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;

}  // namespace

ShareMemberChange ShareMemberNow(const Leader& leader, std::string_view client_id,
                                 const std::string& filter) {
  ShareMemberChange now;
  now.partition = leader.id();
  now.client_id = client_id;
  now.subscription.filter = filter;
  const Session* const session = leader.partition().Find(client_id);
  const SessionSubscription* const found =
      session == nullptr ? nullptr : session->FindSubscription(filter);
  if (found == nullptr) return now;
  now.subscription = found->record;
  now.user_name = session->user_name;
  now.listener = session->listener;
  now.state = session->connected ? ShareMemberChange::State::kConnected
                                 : ShareMemberChange::State::kOffline;
  if (!session->connected) return now;
  now.connection = session->owner;
  const Claim* const claim = leader.sessions().ClaimOf(client_id);
  if (claim != nullptr && claim->feed != nullptr) {
    now.packet_size_max = claim->feed->packet_size_max;
  }
  return now;
}

// ---- Who is told --------------------------------------------------------------------------------

void RouteFeeds::Lead(PartitionId id, uint64_t term) {
  LeadNoMore(id);
  led_[id] = term;
}

void RouteFeeds::LeadNoMore(PartitionId id) {
  led_.erase(id);
  told_ &= ~BitOf(id);
  std::erase_if(feeds_, [id](const auto& one) { return one.first.first == id; });
}

void RouteFeeds::Restart(NodeId to) {
  for (auto& [place, feed] : feeds_) {
    if (place.second == to) StartAnew(feed);
  }
}

void RouteFeeds::Forget(NodeId to) {
  std::erase_if(feeds_, [to](const auto& one) { return one.first.second == to; });
}

// ---- What has changed ---------------------------------------------------------------------------

void RouteFeeds::Tell(PartitionId id, const RouteChange& change) {
  for (auto it = feeds_.lower_bound({id, NodeId()}); it != feeds_.end() && it->first.first == id;
       ++it) {
    Feed& feed = it->second;
    if (feed.state < Feed::State::kParts) continue;
    feed.routes.push_back(change);
    if (!feed.all_read()) feed.changed.insert(change.filter);
    if (feed.waiting() + feed.changed.size() > kWaitingMax) StartAnew(feed);
  }
}

void RouteFeeds::Tell(PartitionId id, const ShareMemberChange& change) {
  for (auto it = feeds_.lower_bound({id, NodeId()}); it != feeds_.end() && it->first.first == id;
       ++it) {
    Feed& feed = it->second;
    if (feed.state < Feed::State::kParts) continue;
    feed.share.push_back(change);
    if (feed.waiting() > kWaitingMax) StartAnew(feed);
  }
}

// ---- Telling ------------------------------------------------------------------------------------

void RouteFeeds::Run(const std::function<bool(PartitionId)>& may_act) {
  if (node_.send == nullptr) return;
  for (const ShardTable::Other& other : node_.shards.others()) {
    const NodeId to = other.life.node;
    for (const auto& [id, term] : led_) {
      if ((other.life.replicas & BitOf(id)) != 0) continue;
      Feed& feed = feeds_[{id, to}];
      told_ |= BitOf(id);
      if (feed.state == Feed::State::kWaits && may_act(id)) Begin(id, to, feed);
      if (feed.state == Feed::State::kParts && feed.taken == feed.number) {
        Send(id, to, feed, /*even_if_empty=*/true);
      } else if (feed.state == Feed::State::kWhole && feed.waiting() != 0) {
        Send(id, to, feed, /*even_if_empty=*/false);
      }
    }
  }
}

void RouteFeeds::Begin(PartitionId id, NodeId to, Feed& feed) {
  feed.state = Feed::State::kCatches;
  feed.feed = led_[id] << kCountBits | (++begun_ & kCountMask);
  // A leader that was deposed, and has not heard of it, is not told here how far others are.
  node_.barriers->Wait(BitOf(id), absl::InfiniteDuration(), [this, id, to, number = feed.feed] {
    const auto found = feeds_.find({id, to});
    if (found == feeds_.end() || found->second.feed != number) return;
    found->second.state = Feed::State::kParts;
    Collect(id, found->second);
  });
}

void RouteFeeds::Collect(PartitionId id, Feed& feed) const {
  const Partition& partition = node_.leaders[id]->partition();
  partition.ForEachFilter([&](std::string_view filter) { feed.filters.emplace_back(filter); });
  partition.ForEachSession([&](const Session& session) {
    if (!session.had_shared) return;
    for (const auto& [filter, subscription] : session.subscriptions) {
      if (mqtt::IsShared(filter)) feed.members.emplace_back(session.client_id, std::string(filter));
    }
  });
}

void RouteFeeds::AddPart(PartitionId id, Feed& feed, FeedRoutes& message) const {
  size_t bytes = 0;
  for (; feed.next_filter < feed.filters.size() && bytes < kPartBytesMax; ++feed.next_filter) {
    std::string& filter = feed.filters[feed.next_filter];
    if (feed.changed.contains(filter)) continue;
    bytes += filter.size() + sizeof(RouteChange);
    message.routes.push_back({.add = true, .partition = id, .filter = std::move(filter)});
  }
  // As they are by now: what was told of them before is older.
  for (; feed.next_member < feed.members.size() && bytes < kPartBytesMax; ++feed.next_member) {
    const auto& [client_id, filter] = feed.members[feed.next_member];
    message.members.push_back(ShareMemberNow(*node_.leaders[id], client_id, filter));
    bytes += client_id.size() + filter.size() + sizeof(ShareMemberChange);
  }
  if (!feed.all_read()) return;
  feed.filters = {};
  feed.members = {};
  feed.changed = {};
  feed.next_filter = feed.next_member = 0;
  feed.state = Feed::State::kWhole;
}

void RouteFeeds::Send(PartitionId id, NodeId to, Feed& feed, bool even_if_empty) {
  if (feed.number - feed.taken > kOnTheWayMax && !even_if_empty) {
    return;  // What is not sent waits; beyond its bound the feed begins anew.
  }
  FeedRoutes message{.partition = id, .feed = feed.feed, .number = ++feed.number};
  message.routes = std::exchange(feed.routes, {});
  message.members = std::exchange(feed.share, {});
  if (feed.state == Feed::State::kParts) AddPart(id, feed, message);
  message.whole = feed.state == Feed::State::kWhole;
  if (message.whole) {
    message.index = feed.index = node_.log->done(id);
  }
  // Of parts each; of changes now and then, so that what is on its way has a bound.
  message.wants_taken = !message.whole || feed.number == 1 || feed.number % (kOnTheWayMax / 4) == 0;
  node_.send(to, std::move(message));
}

void RouteFeeds::TellThrough(PartitionId id, NodeId to) {
  const auto found = feeds_.find({id, to});
  if (found == feeds_.end() || found->second.state != Feed::State::kWhole) return;
  Feed& feed = found->second;
  if (feed.waiting() == 0 && feed.index >= node_.log->done(id)) return;
  Send(id, to, feed, /*even_if_empty=*/true);
}

void RouteFeeds::Hear(NodeId from, const FeedTaken& taken) {
  const auto found = feeds_.find({taken.partition, from});
  if (found == feeds_.end() || found->second.feed != taken.feed) return;
  found->second.taken = std::max(found->second.taken, std::min(taken.number, found->second.number));
}

}  // namespace storage
