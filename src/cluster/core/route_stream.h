// Which messages an origin wants, told to every node: a snapshot first, then numbered changes.
//
// An origin is a node, for its transient sessions, or a partition, for its durable ones; it alone
// changes its set of filters. Numbers are the origin's: a node counts, a partition uses the indexes
// of its log, so that whichever replica leads goes on with the stream. A node that has lost the
// stream knows that it is stale, and sends the origin everything until it has caught up.
#ifndef CLUSTER_CORE_ROUTE_STREAM_H_
#define CLUSTER_CORE_ROUTE_STREAM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/function_ref.h"
#include "mqtt/types.h"
#include "storage/core/addresses.h"

namespace cluster {

// Whether messages of every QoS are wanted, or only those of QoS 0: each has a set of filters.
enum class RouteLevel : uint8_t { kAll, kQos0 };

// What is told of a filter: of one without wildcards a hash, which is enough to send what may
// match, else its text. "h" and eight bytes, or "t" and the text; "H" or "T" of QoS 0 only.
std::string RouteKeyOf(std::string_view filter, RouteLevel level = RouteLevel::kAll);

// A transient member of a `$share` group, on one of the origin's shards. A member has one key: with
// other options it has another one that begins alike. "s", who it is, and what it has; numbers are
// varints, and in front of the filter stands its size.
struct MemberOfKey {
  storage::ShardId shard = 0;
  uint64_t connection = 0;
  std::string_view filter;  // "$share/group/filter"
  mqtt::SubscriptionOptions options;
  uint32_t subscription_id = 0;
  uint32_t packet_size_max = 0;
  std::string_view client_id;
};
// What a member's key begins with, whatever it has.
std::string MemberKeyPrefix(storage::ShardId shard, uint64_t connection, std::string_view filter);
std::string MemberKeyOf(const MemberOfKey& member);

struct RouteOfKey {
  RouteLevel level = RouteLevel::kAll;
  uint64_t hash = 0;                  // Of one without wildcards.
  std::string_view wildcard;          // Empty: it has none.
  std::optional<MemberOfKey> member;  // Then it is no filter.
};
// None: no release writes that.
std::optional<RouteOfKey> ParseRouteKey(std::string_view key);

struct RouteDelta {
  std::string key;
  bool add = true;
  friend bool operator==(const RouteDelta&, const RouteDelta&) = default;
};

// What goes over the link at once. Takes the view from `after` to `through`.
struct RouteFrame {
  uint64_t life = 0;   // Of the origin's numbers: they begin anew with another.
  bool begin = false;  // A snapshot begins: forget what was before.
  uint64_t after = 0;
  uint64_t through = 0;
  bool whole = false;  // With this the view knows everything that the origin had to tell just then.
  std::vector<RouteDelta> changes;
};

struct RouteStreamOptions {
  // Changes are kept for those that lag; who lags further gets a snapshot.
  size_t kept_changes_max = 64 * 1024;
  size_t kept_bytes_max = 8 << 20;
};

// The origin's end. It counts how many of its sessions have a filter; only the first and the last
// are told. Memory: the set, and the changes that are kept. Used on one thread.
class RouteSource {
 public:
  // How far one node has been told.
  struct Reader {
    uint64_t life = 0;  // 0 is no origin's: it knows nothing.
    uint64_t number = 0;
    bool resumed = false;  // It has said what it has, and has been told nothing since.
    // While a snapshot is being sent: keys up to this one were.
    bool in_snapshot = false;
    bool at_start = false;
    std::string cursor;
  };

  RouteSource(RouteStreamOptions options, uint64_t life) : options_(options), life_(life) {}

  // A session has the filter, or one fewer has. `number` does not go back, and all changes of one
  // number are made before Next is called. False: others have it too (or still have it), and
  // nothing has to be told.
  bool Add(std::string_view filter, uint64_t number, RouteLevel level = RouteLevel::kAll);
  bool Remove(std::string_view filter, uint64_t number, RouteLevel level = RouteLevel::kAll);
  // Of the keys that begin so, of which there is one at most, there is this one now; empty: none.
  void Replace(std::string_view prefix, std::string key, uint64_t number);
  // All up to `number` was said.
  void Advance(uint64_t number) { number_ = std::max(number_, number); }
  uint64_t number() const { return number_; }
  size_t keys() const { return counts_.size(); }

  // A node says what it has: 0, 0, if nothing.
  Reader ReaderAt(uint64_t life, uint64_t number) const;
  // The next that it is to be told, of about so many bytes. Nothing: it has everything. What is
  // returned has to reach it, in order; if the link breaks it says anew what it has.
  std::optional<RouteFrame> Next(Reader& reader, size_t bytes_max) const;

 private:
  struct Kept {
    uint64_t number = 0;
    RouteDelta change;
  };
  void Keep(std::string key, bool add);
  void BeginSnapshot(Reader& reader, RouteFrame& frame) const;
  bool CanGoOn(const Reader& reader) const;

  const RouteStreamOptions options_;
  const uint64_t life_;
  uint64_t number_ = 0;
  absl::btree_map<std::string, uint32_t> counts_;
  std::deque<Kept> kept_;
  size_t kept_bytes_ = 0;
  uint64_t kept_after_ = 0;  // All changes behind this number are kept.
};

// What another node knows of one origin: not the filters, which its router has, but how far they
// are right. Used on one thread.
class RouteView {
 public:
  enum class Result {
    kOk,
    kGap,  // Something is missing: to be asked for anew, with `life` and `number`.
  };

  // While it is stale the origin is sent everything.
  bool stale() const { return stale_; }
  uint64_t life() const { return life_; }
  // Everything up to this is known, and may be confirmed.
  uint64_t number() const { return in_snapshot_ ? 0 : number_; }

  // kOk: `changes` of the frame are to be made, in order, before `stale` is looked at again; before
  // them, if `begin` is set, everything of this origin is to be forgotten. Each key is added when
  // it is not there, and removed when it is.
  Result OnFrame(const RouteFrame& frame);
  // The link is lost: what comes next is not known to follow. It says what it has, and asks anew.
  void OnLost();
  // The origin is gone, and with it what it wanted.
  void OnGone();

 private:
  bool stale_ = true;
  bool in_snapshot_ = false;
  uint64_t life_ = 0;
  uint64_t number_ = 0;
};

// How far each node has confirmed one origin's stream, for who waits until all have.
class RouteConfirmations {
 public:
  void Join(uint16_t node) { confirmed_.try_emplace(node, 0); }
  void Leave(uint16_t node) { confirmed_.erase(node); }
  void Confirm(uint16_t node, uint64_t number);
  // All nodes that are there have confirmed it. If none are: everything.
  uint64_t ByAll() const {
    return ByAllOf([](uint16_t) { return true; });
  }
  // Likewise, of those for which `counts` holds.
  uint64_t ByAllOf(absl::FunctionRef<bool(uint16_t node)> counts) const;
  // Who has not confirmed it.
  std::vector<uint16_t> Behind(uint64_t number) const;

 private:
  absl::btree_map<uint16_t, uint64_t> confirmed_;
};

}  // namespace cluster

#endif  // CLUSTER_CORE_ROUTE_STREAM_H_
