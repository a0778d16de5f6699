// Metrics in pages: of one node, and of several nodes as one page.
#ifndef ADMIN_API_METRIC_PAGES_H_
#define ADMIN_API_METRIC_PAGES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "admin/api/method.h"
#include "mqttd/admin/v1/metrics.pb.h"

namespace admin {

class FamilyBuilder;

struct MetricPageBounds {
  size_t families = 0;
  // A page ends with the family that goes beyond it.
  size_t samples = 10'000;
};

// Families that have samples and whose name matches, behind `request`'s page token; `number` is
// that of the node. `page.next` is set if there is more.
pb::ListMetricsResponse MetricPage(const FamilyBuilder& metrics, uint32_t number,
                                   const pb::ListMetricsRequest& request,
                                   const MetricPageBounds& bounds);

// Of pages that all begin behind the same name: what all of them have come to, within the bounds.
// `page.next` is set if there is more, and nothing else of `page`.
pb::ListMetricsResponse MergeMetrics(std::vector<pb::ListMetricsResponse> pages,
                                     const MetricPageBounds& bounds);

}  // namespace admin

#endif  // ADMIN_API_METRIC_PAGES_H_
