// All metrics by name, in Prometheus' text format.
#ifndef ADMIN_METRICS_TEXT_H_
#define ADMIN_METRICS_TEXT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "admin/admin_calls.h"
#include "admin/own_certificate.h"
#include "admin/process_stats.h"
#include "base/cluster_view.h"
#include "broker/metrics.h"

namespace admin {

class FamilyBuilder;

// What this node says of itself.
struct NodeView {
  absl::string_view id;
  bool ready = false;  // As /readyz has it.
  bool draining = false;
  AdminCalls admin;
  const base::ClusterView* cluster = nullptr;  // Null: it is in none.
  std::vector<OwnCertificate> certificates{};  // Beside those of listeners.
};

// Those families that have samples. Cost: some hundred lines of text, no lock and no wait.
std::string MetricsText(const FamilyBuilder& families);

// docs/metrics.md, whole.
std::string MetricsDocumentation();

}  // namespace admin

#endif  // ADMIN_METRICS_TEXT_H_
