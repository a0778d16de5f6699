// mqttctl metrics: what the nodes count and measure.
#include <CLI/Option.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/metrics.pb.h"
#include "verbs/paging.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

struct MetricsArguments {
  std::string name;
  std::string node;
  bool nonzero = false;
};

// "cause=queue_full listener=mqtt://…", in the family's order.
std::string LabelsInWords(const Json& family, const Json& sample) {
  std::string words;
  for (const Json& label : family["labels"]) {
    const std::string name = label.get<std::string>();
    if (sample["labels"].contains(name)) {
      absl::StrAppend(&words, words.empty() ? "" : " ", name, "=",
                      sample["labels"][name].get<std::string>());
    }
  }
  return words;
}

// Not more than this, says the histogram, are so many of a hundred. "<=0.001".
std::string PercentileInWords(const Json& histogram, uint64_t percent) {
  const uint64_t count = histogram["count"].get<uint64_t>();
  const Json& buckets = histogram["buckets"];
  for (const Json& bucket : buckets) {
    if (bucket["count"].get<uint64_t>() * 100 >= count * percent)
      return absl::StrCat("<=", bucket["bound"].get<double>());
  }
  return buckets.empty() ? "=?" : absl::StrCat(">", buckets.back()["bound"].get<double>());
}

Json ValueInWords(const Json& sample) {
  if (!sample.contains("histogram")) return sample["value"];
  const Json& histogram = sample["histogram"];
  const uint64_t count = histogram["count"].get<uint64_t>();
  if (count == 0) return "n=0";
  return absl::StrCat("n=", count,
                      " mean=", histogram["sum"].get<double>() / static_cast<double>(count), " p50",
                      PercentileInWords(histogram, 50), " p99", PercentileInWords(histogram, 99));
}

bool IsZero(const Json& sample) {
  return sample.contains("histogram") ? sample["histogram"]["count"] == 0 : sample["value"] == 0;
}

void KeepNonzero(Json& families) {
  Json kept = Json::array();
  for (Json& family : families) {
    Json samples = Json::array();
    for (Json& sample : family["samples"]) {
      if (!IsZero(sample)) samples.push_back(std::move(sample));
    }
    if (samples.empty()) continue;
    family["samples"] = std::move(samples);
    kept.push_back(std::move(family));
  }
  families = std::move(kept);
}

std::string Table(const Json& families, const OutputForm& form) {
  Json rows = Json::array();
  bool alone = true;
  for (const Json& family : families) {
    for (const Json& sample : family["samples"]) {
      alone = alone && sample["number"] == 0;
      rows.push_back({{"name", family["name"]},
                      {"labels", LabelsInWords(family, sample)},
                      {"number", sample["number"]},
                      {"value", ValueInWords(sample)},
                      {"type", family["type"]},
                      {"help", family["help"]}});
    }
  }
  return RenderList(rows,
                    {{"NAME", "name"},
                     {"LABELS", "labels"},
                     {"NODE", "number", alone},
                     {"VALUE", "value"},
                     {"TYPE", "type", true},
                     {"HELP", "help", true}},
                    form);
}

absl::Status Metrics(AdminSession& session, const VerbContext& context,
                     const MetricsArguments& arguments) {
  pb::ListMetricsRequest request;
  request.set_name(arguments.name);
  request.set_node(arguments.node);
  Json families;
  Json nodes = Json::array();
  RETURN_IF_ERROR(ListAll<pb::ListMetricsResponse>(
      session, "Metrics/List", request, 0,
      [&nodes](const auto& response) -> const auto& {
        nodes = ToJson(response)["nodes"];
        return response.families();
      },
      families));
  if (arguments.nonzero) KeepNonzero(families);
  if (context.form().table()) {
    context.Print(Table(families, context.form()));
  } else {
    context.Print(Render(Json{{"families", families}, {"nodes", nodes}}, context.form()));
  }
  return absl::OkStatus();
}

}  // namespace

void AddMetrics(CLI::App& app, VerbContext& context) {
  const auto arguments = std::make_shared<MetricsArguments>();
  CLI::App& verb = context.AddVerb(
      app, "metrics",
      "What the nodes count and measure, as their pages for Prometheus have it; -o wide says what "
      "each means.\n\n"
      "Example: mqttctl metrics 'publish_*' --nonzero",
      [&context, arguments](AdminSession& session) {
        return Metrics(session, context, *arguments);
      });
  verb.add_option("name", arguments->name,
                  "Only of such names, with * and ?; mqttd_ may be left out");
  verb.add_option("--node", arguments->node, "Only of this node, by its identifier or number");
  verb.add_flag("--nonzero", arguments->nonzero, "Only what is not 0");
}

}  // namespace mqttctl
