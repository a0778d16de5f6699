#include "admin/api/topics_service.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "admin/api/convert.h"
#include "admin/api/message_proto.h"
#include "admin/api/subscription_tour.h"
#include "base/glob.h"
#include "mqtt/topic.h"
#include "mqttd/admin/v1/topics.pb.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Topics";
constexpr size_t kFiltersMax = 200'000;  // Counted one by one.
constexpr uint32_t kUsualCount = 100;

size_t CountOf(const pb::ListFiltersRequest& request) {
  return request.count() == 0 ? kUsualCount : std::min(request.count(), kFiltersListedMax);
}

// Lives in the tour.
class FilterTally : public std::enable_shared_from_this<FilterTally> {
 public:
  FilterTally(const BrokerAccess& broker, pb::ListFiltersRequest request,
              Reply<pb::ListFiltersResponse> reply)
      : broker_(broker), request_(std::move(request)), reply_(std::move(reply)) {}

  void Start() {
    const auto self = shared_from_this();
    TourSubscriptions(broker_,
                      {.on_stored = [self](storage::PartitionId,
                                           std::string_view filter) { self->Add(filter, true); },
                       .on_connected =
                           [self](std::string_view filter, bool durable) {
                             if (!durable) self->Add(filter, false);  // Its partition tells of it.
                           },
                       .done =
                           [self](const absl::Status& status) {
                             status.ok() ? self->Finish() : self->reply_(status);
                           }});
  }

 private:
  struct Count {
    uint64_t subscriptions = 0;
    uint64_t durable = 0;
  };

  bool Wanted(std::string_view filter) const {
    if (!request_.filter().empty() && !base::GlobMatches(request_.filter(), filter)) return false;
    if (request_.topic().empty()) return true;
    const auto shared = mqtt::ParseShared(filter);
    return mqtt::Matches(shared ? shared->filter : filter, request_.topic());
  }

  void Add(std::string_view filter, bool durable) {
    if (!Wanted(filter)) return;
    ++subscriptions_;
    auto it = counts_.find(base::AbslView(filter));
    if (it == counts_.end()) {
      if (counts_.size() >= kFiltersMax) {
        ++left_out_;
        return;
      }
      it = counts_.emplace(std::string(filter), Count()).first;
    }
    ++it->second.subscriptions;
    it->second.durable += durable ? 1 : 0;
  }

  void Finish() {
    std::vector<std::pair<const std::string, Count>*> all;
    all.reserve(counts_.size());
    for (auto& each : counts_) all.push_back(&each);
    const size_t listed = std::min(CountOf(request_), all.size());
    std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(listed), all.end(),
                      [](const auto* a, const auto* b) {
                        if (a->second.subscriptions != b->second.subscriptions)
                          return a->second.subscriptions > b->second.subscriptions;
                        return a->first < b->first;
                      });
    pb::ListFiltersResponse response;
    for (size_t i = 0; i < listed; ++i) {
      pb::FilterCount& proto = *response.add_filters();
      proto.set_filter(all[i]->first);
      proto.set_subscriptions(all[i]->second.subscriptions);
      proto.set_durable(all[i]->second.durable);
    }
    response.set_subscriptions(subscriptions_);
    response.set_filters_total(counts_.size());
    response.set_subscriptions_left_out(left_out_);
    reply_(std::move(response));
  }

  const BrokerAccess& broker_;
  const pb::ListFiltersRequest request_;
  const Reply<pb::ListFiltersResponse> reply_;
  // One task at a time looks, so it needs no lock.
  absl::flat_hash_map<std::string, Count> counts_;
  uint64_t subscriptions_ = 0;
  uint64_t left_out_ = 0;
};

void ListFilters(const BrokerAccess& broker, const pb::ListFiltersRequest& request,
                 Reply<pb::ListFiltersResponse> reply) {
  if (!request.topic().empty() && !mqtt::IsValidTopicName(request.topic()))
    return reply(absl::InvalidArgumentError("topic: not a Topic Name"));
  if (absl::Status status = broker.CheckOpen(); !status.ok()) return reply(status);
  std::make_shared<FilterTally>(broker, request, std::move(reply))->Start();
}

}  // namespace

void KeepFirst(const pb::ListFiltersRequest& request,
               google::protobuf::RepeatedPtrField<pb::FilterCount>& filters) {
  std::sort(filters.begin(), filters.end(), [](const auto& a, const auto& b) {
    if (a.subscriptions() != b.subscriptions()) return a.subscriptions() > b.subscriptions();
    return a.filter() < b.filter();
  });
  const int listed = static_cast<int>(CountOf(request));
  if (filters.size() > listed) filters.DeleteSubrange(listed, filters.size() - listed);
}

void AddTopicsService(const BrokerAccess& broker, TopicSamples& samples, Methods& methods) {
  methods.Add<pb::ListFiltersRequest, pb::ListFiltersResponse>(
      kService, "ListFilters",
      [&broker](const Caller&, const pb::ListFiltersRequest& request, auto reply) {
        ListFilters(broker, request, std::move(reply));
      });
  methods.Add<pb::BusiestTopicsRequest, pb::BusiestTopicsResponse>(
      kService, "Busiest",
      [&samples](const Caller&, const pb::BusiestTopicsRequest& request, auto reply) {
        samples.Start(request, std::move(reply));
      });
}

}  // namespace admin
