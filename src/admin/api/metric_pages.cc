#include "admin/api/metric_pages.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "admin/families.h"
#include "base/glob.h"
#include "prometheus/metric_family.h"

namespace admin {
namespace {

using prometheus::MetricFamily;

bool Wanted(const std::string& pattern, const std::string& name) {
  return pattern.empty() || base::GlobMatches(pattern, name) ||
         base::GlobMatches(absl::StrCat(kMetricPrefix, pattern), name);
}

pb::MetricType TypeOf(prometheus::MetricType type) {
  switch (type) {
    case prometheus::MetricType::Counter:
      return pb::METRIC_TYPE_COUNTER;
    case prometheus::MetricType::Histogram:
      return pb::METRIC_TYPE_HISTOGRAM;
    default:
      return pb::METRIC_TYPE_GAUGE;
  }
}

void Fill(const MetricFamily& family, const std::vector<std::string>& labels, uint32_t number,
          pb::MetricFamily& proto) {
  proto.set_name(family.name);
  proto.set_help(family.help);
  proto.set_type(TypeOf(family.type));
  for (const std::string& label : labels) proto.add_labels(label);
  for (const prometheus::ClientMetric& metric : family.metric) {
    pb::MetricSample& sample = *proto.add_samples();
    sample.set_number(number);
    for (const auto& label : metric.label) (*sample.mutable_labels())[label.name] = label.value;
    if (family.type != prometheus::MetricType::Histogram) {
      const bool counter = family.type == prometheus::MetricType::Counter;
      sample.set_value(counter ? metric.counter.value : metric.gauge.value);
      continue;
    }
    pb::MetricHistogram& histogram = *sample.mutable_histogram();
    histogram.set_count(metric.histogram.sample_count);
    histogram.set_sum(metric.histogram.sample_sum);
    for (const auto& bucket : metric.histogram.bucket) {
      if (std::isinf(bucket.upper_bound)) continue;  // That is `count`.
      pb::MetricBucket& each = *histogram.add_buckets();
      each.set_bound(bucket.upper_bound);
      each.set_count(bucket.cumulative_count);
    }
  }
}

// Families that come in order, as long as there is room.
class Page {
 public:
  Page(const MetricPageBounds& bounds, pb::ListMetricsResponse& response)
      : bounds_(bounds), response_(response) {
    response_.mutable_page();
  }

  bool full() const {
    return static_cast<size_t>(response_.families_size()) >= bounds_.families ||
           samples_ >= bounds_.samples;
  }
  void Add(pb::MetricFamily family) {
    samples_ += static_cast<size_t>(family.samples_size());
    *response_.add_families() = std::move(family);
  }
  void SayMore() {
    if (response_.families_size() == 0) return;
    response_.mutable_page()->set_next(response_.families(response_.families_size() - 1).name());
  }

 private:
  const MetricPageBounds bounds_;
  pb::ListMetricsResponse& response_;
  size_t samples_ = 0;
};

}  // namespace

pb::ListMetricsResponse MetricPage(const FamilyBuilder& metrics, uint32_t number,
                                   const pb::ListMetricsRequest& request,
                                   const MetricPageBounds& bounds) {
  struct Found {
    const MetricFamily* family = nullptr;
    const std::vector<std::string>* labels = nullptr;
  };
  std::map<std::string, Found> found;
  for (const Chapter& chapter : metrics.chapters()) {
    for (size_t i = 0; i < chapter.families.size(); ++i) {
      const MetricFamily& family = chapter.families[i];
      if (family.metric.empty() || family.name <= request.page().token()) continue;
      if (Wanted(request.name(), family.name))
        found[family.name] = {.family = &family, .labels = &chapter.labels[i]};
    }
  }
  pb::ListMetricsResponse response;
  Page page(bounds, response);
  for (const auto& [name, each] : found) {
    if (page.full()) {
      page.SayMore();
      break;
    }
    pb::MetricFamily family;
    Fill(*each.family, *each.labels, number, family);
    page.Add(std::move(family));
  }
  return response;
}

pb::ListMetricsResponse MergeMetrics(std::vector<pb::ListMetricsResponse> pages,
                                     const MetricPageBounds& bounds) {
  const auto number = [](const auto& a, const auto& b) { return a.number() < b.number(); };
  pb::ListMetricsResponse all;
  std::map<std::string, pb::MetricFamily> by_name;
  std::optional<std::string> whole_to;  // Behind it somebody may have more.
  for (pb::ListMetricsResponse& page : pages) {
    const std::string& next = page.page().next();
    if (!next.empty() && (!whole_to.has_value() || next < *whole_to)) whole_to = next;
    for (pb::MetricFamily& family : *page.mutable_families()) {
      const auto [known, is_new] = by_name.try_emplace(family.name());
      if (is_new) {
        known->second = std::move(family);
      } else {
        known->second.mutable_samples()->MergeFrom(family.samples());
      }
    }
    all.mutable_nodes()->MergeFrom(page.nodes());
  }
  std::sort(all.mutable_nodes()->begin(), all.mutable_nodes()->end(), number);
  Page page(bounds, all);
  bool more = whole_to.has_value();
  for (auto& [name, family] : by_name) {
    const bool known_whole = !whole_to.has_value() || name <= *whole_to;
    if (page.full() || !known_whole) {
      more = true;
      break;
    }
    std::stable_sort(family.mutable_samples()->begin(), family.mutable_samples()->end(), number);
    page.Add(std::move(family));
  }
  if (more) page.SayMore();
  return all;
}

}  // namespace admin
