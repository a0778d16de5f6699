#include "admin/api/metric_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "admin/families.h"
#include "base/metric.h"

namespace admin {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

FamilyBuilder SomeMetrics() {
  FamilyBuilder metrics;
  metrics.BeginChapter("Later");
  metrics.Gauge("zeta", "Last.");
  metrics.Sample(1.5);
  metrics.Counter("drops_total", "Dropped.", {"cause", "kind"});
  metrics.Sample(uint64_t{3}, {"full", "durable"});
  metrics.Sample(uint64_t{0}, {"expired", "durable"});
  metrics.BeginChapter("Earlier");
  metrics.Gauge("alpha", "First.");
  metrics.Sample(uint64_t{7});
  metrics.Gauge("beta", "Nobody has it.");
  return metrics;
}

std::vector<std::string> NamesOf(const pb::ListMetricsResponse& response) {
  std::vector<std::string> names;
  for (const pb::MetricFamily& family : response.families()) names.push_back(family.name());
  return names;
}

pb::ListMetricsRequest Request(const std::string& name, const std::string& token = "") {
  pb::ListMetricsRequest request;
  request.set_name(name);
  request.mutable_page()->set_token(token);
  return request;
}

constexpr MetricPageBounds kAll{.families = 100};

TEST(MetricPage, HasThoseWithSamplesInTheOrderOfTheirNames) {
  const auto page = MetricPage(SomeMetrics(), 4, Request(""), kAll);
  EXPECT_THAT(NamesOf(page), ElementsAre("mqttd_alpha", "mqttd_drops_total", "mqttd_zeta"));
  EXPECT_EQ(page.page().next(), "");
  const pb::MetricFamily& drops = page.families(1);
  EXPECT_EQ(drops.help(), "Dropped.");
  EXPECT_EQ(drops.type(), pb::METRIC_TYPE_COUNTER);
  EXPECT_THAT(drops.labels(), ElementsAre("cause", "kind"));
  ASSERT_EQ(drops.samples_size(), 2);
  EXPECT_EQ(drops.samples(0).labels().at("cause"), "full");
  EXPECT_EQ(drops.samples(0).number(), 4u);
  EXPECT_EQ(drops.samples(0).value(), 3);
  EXPECT_TRUE(drops.samples(1).has_value()) << "0 is a value";
}

TEST(MetricPage, TakesAPatternWithOrWithoutWhatAllNamesBeginWith) {
  const FamilyBuilder metrics = SomeMetrics();
  EXPECT_THAT(NamesOf(MetricPage(metrics, 0, Request("mqttd_drops*"), kAll)),
              ElementsAre("mqttd_drops_total"));
  EXPECT_THAT(NamesOf(MetricPage(metrics, 0, Request("?eta"), kAll)), ElementsAre("mqttd_zeta"));
  EXPECT_THAT(NamesOf(MetricPage(metrics, 0, Request("eta"), kAll)), IsEmpty());
}

TEST(MetricPage, EndsAtItsBoundsAndGoesOnBehindThem) {
  const FamilyBuilder metrics = SomeMetrics();
  for (const MetricPageBounds& bounds :
       {MetricPageBounds{.families = 1}, MetricPageBounds{.families = 100, .samples = 1}}) {
    std::vector<std::string> names;
    std::string token;
    do {
      const auto page = MetricPage(metrics, 0, Request("", token), bounds);
      ASSERT_EQ(page.families_size(), 1);
      names.push_back(page.families(0).name());
      token = page.page().next();
    } while (!token.empty());
    EXPECT_THAT(names, ElementsAre("mqttd_alpha", "mqttd_drops_total", "mqttd_zeta"));
  }
}

TEST(MetricPage, AHistogramHasNoInfiniteBucket) {
  base::LatencyHistogram latency;
  latency.Record(absl::Milliseconds(2), 3);
  latency.Record(absl::Hours(1));
  FamilyBuilder metrics;
  metrics.BeginChapter("Only");
  metrics.Histogram("latency_seconds", "How long.", {&latency});
  const auto page = MetricPage(metrics, 0, Request(""), kAll);
  ASSERT_EQ(page.families_size(), 1);
  const pb::MetricSample& sample = page.families(0).samples(0);
  EXPECT_FALSE(sample.has_value());
  EXPECT_EQ(sample.histogram().count(), 4u);
  EXPECT_NEAR(sample.histogram().sum(), 3600.006, 1e-9);
  ASSERT_EQ(sample.histogram().buckets_size(),
            static_cast<int>(base::LatencyHistogram::kBuckets) - 1);
  EXPECT_EQ(sample.histogram().buckets().rbegin()->count(), 3u) << "an hour is beyond the last one";
}

// Of a node with `names`, each of `samples` samples.
pb::ListMetricsResponse PageOf(uint32_t number, const std::vector<std::string>& names,
                               const std::string& next = "", int samples = 1) {
  pb::ListMetricsResponse page;
  for (const std::string& name : names) {
    pb::MetricFamily& family = *page.add_families();
    family.set_name(name);
    for (int i = 0; i < samples; ++i) {
      pb::MetricSample& sample = *family.add_samples();
      sample.set_number(number);
      sample.set_value(i);
    }
  }
  page.mutable_page()->set_next(next);
  page.add_nodes()->set_number(number);
  return page;
}

TEST(MergeMetrics, PutsTheNodesSamplesTogetherByNumber) {
  const auto all = MergeMetrics({PageOf(3, {"a", "c"}, "", 2), PageOf(1, {"a", "b"}, "", 2)}, kAll);
  EXPECT_THAT(NamesOf(all), ElementsAre("a", "b", "c"));
  std::vector<std::string> samples;
  for (const pb::MetricSample& sample : all.families(0).samples())
    samples.push_back(absl::StrCat(sample.number(), ":", sample.value()));
  EXPECT_THAT(samples, ElementsAre("1:0", "1:1", "3:0", "3:1"));
  EXPECT_EQ(all.page().next(), "");
  ASSERT_EQ(all.nodes_size(), 2);
  EXPECT_EQ(all.nodes(0).number(), 1u);
}

TEST(MergeMetrics, ShowsNoFamilyOfWhichANodeMayHaveMore) {
  const auto all = MergeMetrics({PageOf(1, {"a", "b"}, "b"), PageOf(2, {"b", "c", "d"})}, kAll);
  EXPECT_THAT(NamesOf(all), ElementsAre("a", "b"));
  EXPECT_EQ(all.page().next(), "b");
}

TEST(MergeMetrics, KeepsToTheBoundsOfOnePage) {
  auto all = MergeMetrics({PageOf(1, {"a", "c"}), PageOf(2, {"b"})}, {.families = 2});
  EXPECT_THAT(NamesOf(all), ElementsAre("a", "b"));
  EXPECT_EQ(all.page().next(), "b");
  all = MergeMetrics({PageOf(1, {"a", "b"}, "", 3), PageOf(2, {"a", "b"}, "", 3)},
                     {.families = 100, .samples = 5});
  EXPECT_THAT(NamesOf(all), ElementsAre("a"));
  EXPECT_EQ(all.families(0).samples_size(), 6);
  EXPECT_EQ(all.page().next(), "a");
}

}  // namespace
}  // namespace admin
