// Where a shard's requests about each partition go.
#ifndef CLUSTER_CORE_REQUEST_ROUTES_H_
#define CLUSTER_CORE_REQUEST_ROUTES_H_

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "storage/core/partition_api.h"

namespace cluster {

// To the node whose leader was told Claims last; before there was one, to nobody: the shard has a
// copy of each request, and asks again behind its next Claims. A question of a former leader may
// come behind that of the next one: what answers it goes nowhere. `Node` stands for another node.
// Of one shard, used on its thread.
template <typename Node>
class RequestRoutes {
 public:
  enum class Kind : uint8_t { kNowhere, kHere, kNode };
  struct Way {
    Kind kind = Kind::kNowhere;
    Node node{};
    // Of the link to the node, as of the Claims: in another one a part of the stream may be
    // missing, so nothing more goes there before the next Claims.
    uint64_t epoch = 0;
  };

  // Of the next request: of Claims `of_claims(by)` says it, for all that follows as well.
  template <typename OfClaims>
  Way Of(const storage::Addressed& asked, OfClaims&& of_claims) {
    if (const auto* const claims = std::get_if<storage::Claims>(&asked.request)) {
      if (ways_.size() <= claims->partition) ways_.resize(claims->partition + 1U);
      // It begins no stream: it goes where the last ones went, or nowhere.
      if (claims->further)
        return claims->life == ways_[claims->partition].life ? ways_[claims->partition].way : Way{};
      OfPartition& to = ways_[claims->partition];
      to.repeats_to_skip = 0;
      if (claims->life < to.life) {
        to.repeats_to_skip = claims->repeats;
        return {};
      }
      to.life = claims->life;
      return to.way = of_claims(claims->by);
    }
    if (asked.sequence == 0) return {.kind = Kind::kHere};  // About the node, or its replicas.
    if (asked.partition >= ways_.size()) return {};
    OfPartition& to = ways_[asked.partition];
    if (to.repeats_to_skip == 0) return to.way;
    --to.repeats_to_skip;
    return {};
  }

 private:
  struct OfPartition {
    Way way;
    uint64_t life = 0;             // Of the leader that was told.
    uint64_t repeats_to_skip = 0;  // They follow Claims for a former one.
  };
  std::vector<OfPartition> ways_;  // By partition.
};

}  // namespace cluster

#endif  // CLUSTER_CORE_REQUEST_ROUTES_H_
