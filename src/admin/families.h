// Metric families under construction: name, help, type, labels and samples in one call each.
#ifndef ADMIN_FAMILIES_H_
#define ADMIN_FAMILIES_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "admin/admin_calls.h"
#include "admin/process_stats.h"
#include "base/metric.h"
#include "broker/metrics.h"
#include "prometheus/metric_family.h"

namespace admin {

struct NodeView;

// The families of one chapter of docs/metrics.md.
struct Chapter {
  std::string title;
  std::vector<prometheus::MetricFamily> families;
  // The families' label names, by place in `families`: a family may have no sample yet.
  std::vector<std::vector<std::string>> labels;
};

// With what all names begin.
inline constexpr char kMetricPrefix[] = "mqttd_";

class FamilyBuilder {
 public:
  void BeginChapter(std::string title) { chapters_.push_back({std::move(title), {}, {}}); }

  // Begin a family. Samples are added to the family begun last.
  void Counter(absl::string_view name, absl::string_view help,
               std::vector<std::string> labels = {});
  void Gauge(absl::string_view name, absl::string_view help, std::vector<std::string> labels = {});
  void Sample(double value, std::vector<std::string> label_values = {});
  void Sample(uint64_t value, std::vector<std::string> label_values = {}) {
    Sample(static_cast<double>(value), std::move(label_values));
  }
  void Sample(int64_t value, std::vector<std::string> label_values = {}) {
    Sample(static_cast<double>(value), std::move(label_values));
  }

  // A whole family: the sum of the histograms.
  void Histogram(absl::string_view name, absl::string_view help,
                 const std::vector<const base::LatencyHistogram*>& parts);

  const std::vector<Chapter>& chapters() const { return chapters_; }

 private:
  void Begin(absl::string_view name, absl::string_view help, prometheus::MetricType type,
             std::vector<std::string> labels);

  std::vector<Chapter> chapters_;
};

// All of them: what MetricsText says, and what the admin API does. Cost: see there.
FamilyBuilder AllFamilies(const broker::MetricsSnapshot& snapshot, const ProcessStats& process,
                          absl::Time now, const NodeView& node);

// The chapters, in the order of the page. Each adds what it has of a snapshot, which may have no
// shards and no storage.
void AddConnections(const broker::MetricsSnapshot& snapshot, const NodeView& node,
                    FamilyBuilder& out);
void AddPackets(const broker::MetricsSnapshot& snapshot, FamilyBuilder& out);
void AddMessages(const broker::MetricsSnapshot& snapshot, FamilyBuilder& out);
void AddState(const broker::MetricsSnapshot& snapshot, FamilyBuilder& out);
void AddStorage(const broker::MetricsSnapshot& snapshot, FamilyBuilder& out);
void AddCluster(const NodeView& node, FamilyBuilder& out);
void AddInside(const broker::MetricsSnapshot& snapshot, FamilyBuilder& out);
void AddAdmin(const AdminCalls& calls, FamilyBuilder& out);
void AddProcess(const broker::MetricsSnapshot& snapshot, const ProcessStats& process,
                absl::Time now, const NodeView& node, FamilyBuilder& out);

}  // namespace admin

#endif  // ADMIN_FAMILIES_H_
