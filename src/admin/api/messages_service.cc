#include "admin/api/messages_service.h"

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "admin/api/message_proto.h"
#include "mqttd/admin/v1/messages.pb.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Messages";
constexpr int kFiltersMax = 64;

void Publish(const BrokerAccess& broker, InsideClients& inside, const pb::PublishRequest& request,
             Reply<pb::PublishResponse> reply) {
  auto message = FromProto(request.message());
  absl::Status status = message.status();
  if (status.ok()) status = broker.CheckOpen();
  if (!status.ok()) return reply(status);
  inside.publisher()->Publish(*std::move(message),
                              [reply](const absl::StatusOr<inside::Matched>& published) {
                                if (!published.ok()) return reply(published.status());
                                pb::PublishResponse response;
                                response.set_matched(*published == inside::Matched::kSomebody);
                                reply(std::move(response));
                              });
}

// What comes for a stream. On the thread of its client.
class Listening {
 public:
  Listening(std::shared_ptr<Outlet> outlet, uint64_t payload_bytes_max)
      : outlet_(std::move(outlet)), payload_bytes_max_(payload_bytes_max) {}

  void Start() {
    pb::SubscribeResponse started;
    started.mutable_started();
    outlet_->Send(started);
  }

  void Pass(const mqttd::client::ReceivedMessage& message) {
    if (lost_ != 0) {
      pb::SubscribeResponse gap;
      gap.mutable_lost()->set_messages(lost_);
      if (outlet_->Send(gap)) lost_ = 0;
    }
    pb::SubscribeResponse response;
    *response.mutable_message() = ToProto(message, payload_bytes_max_);
    if (lost_ != 0 || !outlet_->Send(response)) ++lost_;
  }

 private:
  const std::shared_ptr<Outlet> outlet_;
  const uint64_t payload_bytes_max_;
  uint64_t lost_ = 0;
};

absl::Status CheckSubscribe(const pb::SubscribeRequest& request) {
  if (request.filters().empty() || request.filters_size() > kFiltersMax)
    return absl::InvalidArgumentError(absl::StrCat("filters: 1 to ", kFiltersMax));
  for (const std::string& filter : request.filters()) {
    if (absl::Status status = CheckFilter(filter); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void Subscribe(const BrokerAccess& broker, InsideClients& inside,
               const pb::SubscribeRequest& request, const std::shared_ptr<Outlet>& outlet) {
  absl::Status status = CheckSubscribe(request);
  if (status.ok()) status = broker.CheckOpen();
  if (!status.ok()) return outlet->End(status);
  std::vector<mqttd::client::Subscription> subscriptions;
  for (const std::string& filter : request.filters()) {
    subscriptions.push_back(
        {filter,
         {.qos = mqtt::QoS::kExactlyOnce,
          .retain_as_published = true,
          .retain_handling = request.retained() ? mqtt::RetainHandling::kSend
                                                : mqtt::RetainHandling::kDoNotSend}});
  }
  const auto client = inside.Make();
  const auto listening = std::make_shared<Listening>(
      outlet, request.payload_bytes_max() == 0 ? std::numeric_limits<uint64_t>::max()
                                               : request.payload_bytes_max());
  client->Subscribe(
      std::move(subscriptions),
      [listening](const mqttd::client::ReceivedMessage& message) { listening->Pass(message); },
      [listening, outlet](const absl::Status& subscribed) {
        subscribed.ok() ? listening->Start() : outlet->End(subscribed);
      });
  outlet->OnGone([&inside, client] { inside.Retire(client); });
}

}  // namespace

void AddMessagesService(const BrokerAccess& broker, InsideClients& inside, Methods& methods) {
  methods.Add<pb::PublishRequest, pb::PublishResponse>(
      kService, "Publish",
      [&broker, &inside](const Caller&, const pb::PublishRequest& request, auto reply) {
        Publish(broker, inside, request, std::move(reply));
      });
  methods.AddStream<pb::SubscribeRequest, pb::SubscribeResponse>(
      kService, "Subscribe",
      [&broker, &inside](const Caller&, const pb::SubscribeRequest& request,
                         const std::shared_ptr<Outlet>& outlet) {
        Subscribe(broker, inside, request, outlet);
      });
}

}  // namespace admin
