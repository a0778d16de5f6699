#include "admin/api/slow_sessions.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "admin/api/client_pages.h"
#include "mqttd/admin/v1/sessions.pb.h"
#include "storage/leader/host.h"
#include "storage/leader/session_view.h"

namespace admin {
namespace {

constexpr uint32_t kUsualCount = 20;
constexpr uint32_t kCountMax = 1000;
constexpr size_t kClientsAtOnce = 512;

bool Slower(const pb::SlowSession& a, const pb::SlowSession& b) {
  if (a.queued_messages() != b.queued_messages()) return a.queued_messages() > b.queued_messages();
  if (a.output_bytes() != b.output_bytes()) return a.output_bytes() > b.output_bytes();
  return a.client_id() < b.client_id();
}

// First the partitions' sessions, then the shards' clients: a task at a time, this lives in it. Of
// all that have something waiting only the slowest are kept.
class SlowSearch : public std::enable_shared_from_this<SlowSearch> {
 public:
  SlowSearch(const BrokerAccess& broker, uint32_t count, Reply<pb::ListSlowSessionsResponse> reply)
      : broker_(broker), count_(count), reply_(std::move(reply)) {}

  void StepHost(storage::SessionPlace from) {
    const bool open = broker_.OnHost([self = shared_from_this(), from](storage::Host& host) {
      storage::SessionQuery query;
      query.queued_messages_min = 1;
      query.led = true;
      const storage::SessionPage page =
          storage::LookAtSessions(host.node(), query, from, storage::kSessionsLookedMax);
      for (const storage::SessionView& view : page.sessions) self->AddStored(view);
      page.next.has_value() ? self->StepHost(*page.next) : self->StepShards({});
    });
    if (!open) reply_(BrokerAccess::Closed());
  }

 private:
  void AddStored(const storage::SessionView& view) {
    pb::SlowSession slow;
    slow.set_client_id(view.client_id);
    slow.set_durable(true);
    slow.set_connected(view.connected);
    slow.set_queued_messages(view.queued_messages);
    slow.set_queued_bytes(view.queued_bytes);
    slow.set_dropped_messages(view.dropped);
    Keep(std::move(slow));
  }

  void StepShards(ClientPlace from) {
    FindClients(broker_, {}, from, kClientsAtOnce,
                [self = shared_from_this()](const absl::StatusOr<ClientsFound>& found) {
                  if (!found.ok()) return self->reply_(found.status());
                  for (const broker::ClientView& client : found->clients) self->AddClient(client);
                  found->end ? self->Finish() : self->StepShards(found->next);
                });
  }

  void AddClient(const broker::ClientView& view) {
    const auto known = slowest_.find(view.client_id);
    // The queue of a durable one may be another node's, which knows nothing of what is in flight.
    if (known == slowest_.end() && view.queued_messages == 0 && view.output_bytes == 0 &&
        (!view.durable || view.inflight_out == 0))
      return;
    pb::SlowSession slow;
    if (known != slowest_.end()) slow = known->second;
    slow.set_client_id(view.client_id);
    slow.set_durable(view.durable);
    slow.set_connected(true);
    if (!view.durable) {
      slow.set_queued_messages(view.queued_messages);
      slow.set_queued_bytes(view.queued_bytes);
    }
    slow.set_output_bytes(view.output_bytes);
    slow.set_inflight_out(static_cast<uint32_t>(view.inflight_out));
    slow.set_receive_maximum(view.window);
    Keep(std::move(slow));
  }

  void Keep(pb::SlowSession slow) {
    const std::string client_id = slow.client_id();
    slowest_[client_id] = std::move(slow);
    if (slowest_.size() > 2 * size_t{kCountMax} + count_) Thin();
  }
  void Thin() {
    std::vector<pb::SlowSession> sorted = Sorted();
    slowest_.clear();
    for (pb::SlowSession& each : sorted) slowest_.emplace(each.client_id(), std::move(each));
  }
  std::vector<pb::SlowSession> Sorted() const {
    std::vector<pb::SlowSession> sorted;
    for (const auto& [client_id, slow] : slowest_) sorted.push_back(slow);
    return Slowest(std::move(sorted), count_);
  }
  void Finish() {
    pb::ListSlowSessionsResponse response;
    for (pb::SlowSession& each : Sorted()) *response.add_sessions() = std::move(each);
    reply_(std::move(response));
  }

  const BrokerAccess& broker_;
  const size_t count_;
  const Reply<pb::ListSlowSessionsResponse> reply_;
  std::map<std::string, pb::SlowSession> slowest_;
};

}  // namespace

uint32_t SlowCountOf(const pb::ListSlowSessionsRequest& request) {
  return request.count() == 0 ? kUsualCount : std::min(request.count(), kCountMax);
}

std::vector<pb::SlowSession> Slowest(std::vector<pb::SlowSession> sessions, size_t count) {
  std::sort(sessions.begin(), sessions.end(), Slower);
  if (sessions.size() > count) sessions.resize(count);
  return sessions;
}

void AddSlowSessions(const BrokerAccess& broker, Methods& methods) {
  methods.Add<pb::ListSlowSessionsRequest, pb::ListSlowSessionsResponse>(
      "mqttd.admin.v1.Sessions", "ListSlow",
      [&broker](const Caller&, const pb::ListSlowSessionsRequest& request, auto reply) {
        if (absl::Status status = broker.CheckOpen(); !status.ok()) return reply(status);
        std::make_shared<SlowSearch>(broker, SlowCountOf(request), std::move(reply))->StepHost({});
      });
}

}  // namespace admin
