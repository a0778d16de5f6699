#include "admin/metrics_text.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "admin/families.h"
#include "prometheus/text_serializer.h"

namespace admin {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

absl::string_view TypeName(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Histogram:
      return "histogram";
    default:
      return "untyped";
  }
}

}  // namespace

FamilyBuilder AllFamilies(const broker::MetricsSnapshot& snapshot, const ProcessStats& process,
                          absl::Time now, const NodeView& node) {
  FamilyBuilder out;
  AddConnections(snapshot, node, out);
  AddPackets(snapshot, out);
  AddMessages(snapshot, out);
  AddState(snapshot, out);
  AddStorage(snapshot, out);
  AddCluster(node, out);
  AddInside(snapshot, out);
  AddAdmin(node.admin, out);
  AddProcess(snapshot, process, now, node, out);
  return out;
}

void FamilyBuilder::Begin(absl::string_view name, absl::string_view help, MetricType type,
                          std::vector<std::string> labels) {
  Chapter& chapter = chapters_.back();
  chapter.families.push_back({absl::StrCat(kMetricPrefix, name), std::string(help), type, {}});
  chapter.labels.push_back(std::move(labels));
}

void FamilyBuilder::Counter(absl::string_view name, absl::string_view help,
                            std::vector<std::string> labels) {
  Begin(name, help, MetricType::Counter, std::move(labels));
}

void FamilyBuilder::Gauge(absl::string_view name, absl::string_view help,
                          std::vector<std::string> labels) {
  Begin(name, help, MetricType::Gauge, std::move(labels));
}

void FamilyBuilder::Sample(double value, std::vector<std::string> label_values) {
  Chapter& chapter = chapters_.back();
  ClientMetric sample;
  const std::vector<std::string>& names = chapter.labels.back();
  for (size_t i = 0; i < names.size(); ++i) {
    sample.label.push_back({names[i], std::move(label_values[i])});
  }
  MetricFamily& family = chapter.families.back();
  (family.type == MetricType::Counter ? sample.counter.value : sample.gauge.value) = value;
  family.metric.push_back(std::move(sample));
}

void FamilyBuilder::Histogram(absl::string_view name, absl::string_view help,
                              const std::vector<const base::LatencyHistogram*>& parts) {
  Begin(name, help, MetricType::Histogram, {});
  ClientMetric sample;
  uint64_t cumulative = 0;
  for (size_t bucket = 0; bucket < base::LatencyHistogram::kBuckets; ++bucket) {
    for (const base::LatencyHistogram* part : parts) cumulative += part->count(bucket);
    const bool last = bucket + 1 == base::LatencyHistogram::kBuckets;
    const double bound = last ? std::numeric_limits<double>::infinity()
                              : absl::ToDoubleSeconds(base::LatencyHistogram::UpperBound(bucket));
    sample.histogram.bucket.push_back({cumulative, bound});
  }
  for (const base::LatencyHistogram* part : parts) {
    sample.histogram.sample_sum += static_cast<double>(part->sum_ns()) * 1e-9;
  }
  sample.histogram.sample_count = cumulative;
  chapters_.back().families.back().metric.push_back(std::move(sample));
}

std::string MetricsText(const FamilyBuilder& families) {
  std::vector<MetricFamily> all;
  for (const Chapter& chapter : families.chapters()) {
    for (const MetricFamily& family : chapter.families) {
      if (!family.metric.empty()) all.push_back(family);
    }
  }
  return prometheus::TextSerializer().Serialize(all);
}

std::string MetricsDocumentation() {
  std::string out = R"(# Metrics

<!-- Made from src/admin by MQTTD_UPDATE_DOCS=1 ./dev test admin_metrics_test: do not edit. -->

`GET /metrics` on the HTTP endpoint (`http.listen`, by default 127.0.0.1:9883) answers in Prometheus'
text format; `mqttctl metrics` shows the same, of a cluster for all nodes. Counters count from the
start of the process. Each number is exact, but they are not taken at one moment. `{label}` behind a
name: one series for each value of that label.

```yaml
# prometheus.yml
scrape_configs:
  - job_name: mqttd
    static_configs:
      - targets: [127.0.0.1:9883]
```

What is worth an alert is one already, and there is a dashboard: [monitoring.md](monitoring.md).
)";
  const FamilyBuilder families = AllFamilies({}, {}, absl::UnixEpoch(), {});
  for (const Chapter& chapter : families.chapters()) {
    absl::StrAppend(&out, "\n## ", chapter.title, "\n\n| name | type | what it says |\n",
                    "| --- | --- | --- |\n");
    for (size_t i = 0; i < chapter.families.size(); ++i) {
      const MetricFamily& family = chapter.families[i];
      const std::string labels = absl::StrJoin(chapter.labels[i], ",");
      absl::StrAppend(&out, "| `", family.name,
                      labels.empty() ? "" : absl::StrCat("{", labels, "}"), "` | ",
                      TypeName(family.type), " | ", family.help, " |\n");
    }
  }
  return out;
}

}  // namespace admin
