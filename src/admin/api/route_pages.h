// Routes of several nodes, a page of each, as one page.
#ifndef ADMIN_API_ROUTE_PAGES_H_
#define ADMIN_API_ROUTE_PAGES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/api/method.h"
#include "mqttd/admin/v1/cluster.pb.h"

namespace admin {

// What a page has of filters, in bytes; but it has one at least, however long.
inline constexpr size_t kPageFilterBytesMax = 1 << 20;

// The first filters behind a place, of any number that come in any order, each with all of its
// counts: what is left out comes behind those that are kept. Memory: a page.
class FirstFilters {
 public:
  struct Counts {
    uint64_t connected = 0;
    uint64_t connected_qos0 = 0;
    std::map<uint32_t, uint64_t> stored;  // By partition.
  };

  FirstFilters(std::string after, size_t filters_max, size_t bytes_max = kPageFilterBytesMax)
      : after_(std::move(after)), filters_max_(filters_max), bytes_max_(bytes_max) {}

  // Null: it is before the place, or left out.
  Counts* Find(std::string_view filter);
  const std::map<std::string, Counts, std::less<>>& filters() const { return filters_; }
  bool more() const { return end_.has_value(); }

 private:
  const std::string after_;
  const size_t filters_max_;
  const size_t bytes_max_;
  std::map<std::string, Counts, std::less<>> filters_;
  size_t bytes_ = 0;
  std::optional<std::string> end_;  // The first that was left out: so is all from there on.
};

// Of pages that all begin behind the same filter: what all of them have come to, and no more than
// `routes_max` and kPageFilterBytesMax. `page.next` is set if there is more, and nothing else of
// `page`.
pb::ListRoutesResponse MergeRoutes(std::vector<pb::ListRoutesResponse> pages, size_t routes_max);

}  // namespace admin

#endif  // ADMIN_API_ROUTE_PAGES_H_
