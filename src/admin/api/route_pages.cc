#include "admin/api/route_pages.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace admin {

FirstFilters::Counts* FirstFilters::Find(std::string_view filter) {
  if (!after_.empty() && filter <= after_) return nullptr;
  if (end_.has_value() && filter >= *end_) return nullptr;  // Of many filters, almost all.
  const auto known = filters_.find(filter);
  if (known != filters_.end()) return &known->second;
  bytes_ += filter.size();
  Counts* counts = &filters_[std::string(filter)];
  while (filters_.size() > filters_max_ || (bytes_ > bytes_max_ && filters_.size() > 1)) {
    auto last = filters_.extract(std::prev(filters_.end()));
    if (&last.mapped() == counts) counts = nullptr;
    bytes_ -= last.key().size();
    end_ = std::move(last.key());
  }
  return counts;
}

pb::ListRoutesResponse MergeRoutes(std::vector<pb::ListRoutesResponse> pages, size_t routes_max) {
  pb::ListRoutesResponse all;
  std::map<std::string, pb::Route> by_filter;
  std::optional<std::string> whole_to;  // Behind it somebody may have more.
  for (pb::ListRoutesResponse& page : pages) {
    const std::string& next = page.page().next();
    if (!next.empty() && (!whole_to.has_value() || next < *whole_to)) whole_to = next;
    for (pb::Route& route : *page.mutable_routes()) {
      pb::Route& known = by_filter[route.filter()];
      known.set_filter(route.filter());
      known.mutable_nodes()->MergeFrom(route.nodes());
      known.mutable_partitions()->MergeFrom(route.partitions());
    }
    all.mutable_nodes()->MergeFrom(page.nodes());
  }
  bool more = whole_to.has_value();
  size_t bytes = 0;
  for (auto& [filter, route] : by_filter) {
    const size_t routes = static_cast<size_t>(all.routes_size());
    bytes += filter.size();
    if (routes == routes_max || (routes != 0 && bytes > kPageFilterBytesMax)) {
      more = true;
      break;
    }
    if (whole_to.has_value() && filter > *whole_to) break;
    std::sort(route.mutable_nodes()->begin(), route.mutable_nodes()->end(),
              [](const auto& a, const auto& b) { return a.number() < b.number(); });
    std::sort(route.mutable_partitions()->begin(), route.mutable_partitions()->end(),
              [](const auto& a, const auto& b) { return a.partition() < b.partition(); });
    *all.add_routes() = std::move(route);
  }
  std::sort(all.mutable_nodes()->begin(), all.mutable_nodes()->end(),
            [](const auto& a, const auto& b) { return a.number() < b.number(); });
  all.mutable_page();
  if (more && all.routes_size() != 0)
    all.mutable_page()->set_next(all.routes(all.routes_size() - 1).filter());
  return all;
}

}  // namespace admin
