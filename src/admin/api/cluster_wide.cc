#include "admin/api/cluster_wide.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "admin/api/explain_service.h"
#include "admin/api/loss.h"
#include "admin/api/metrics_service.h"
#include "admin/api/placement.h"
#include "admin/api/routes_service.h"
#include "admin/api/slow_sessions.h"
#include "admin/api/topics_service.h"
#include "mqttd/admin/v1/clients.pb.h"
#include "mqttd/admin/v1/cluster.pb.h"
#include "mqttd/admin/v1/explain.pb.h"
#include "mqttd/admin/v1/metrics.pb.h"
#include "mqttd/admin/v1/retained.pb.h"
#include "mqttd/admin/v1/sessions.pb.h"
#include "mqttd/admin/v1/topics.pb.h"

namespace admin {
namespace {

std::string PathOf(const char* service, const char* method) {
  return absl::StrCat("/mqttd.admin.v1.", service, "/", method);
}

// A node that is not in its cluster yet says so itself.
template <typename Request, typename Response>
void AnswerHere(const Fleet& fleet, const std::string& path, const Caller& caller,
                const Request& request, Reply<Response> reply) {
  fleet.here().Find(path)->once(
      caller, request,
      [reply = std::move(reply)](const absl::Status& status,
                                 const google::protobuf::Message* response) {
        if (!status.ok()) return reply(status);
        reply(static_cast<const Response&>(*response));
      });
}

template <typename Request, typename Response>
using Handler = std::function<void(const base::ClusterView& view, const Fleet::Passing& call,
                                   const Request& request, Reply<Response> reply)>;

template <typename Request, typename Response>
void Add(const Fleet& fleet, Methods& methods, const char* service, const char* method,
         absl::Duration within, Handler<Request, Response> handle) {
  const std::string path = PathOf(service, method);
  methods.Add<Request, Response>(
      absl::StrCat("mqttd.admin.v1.", service), method,
      [&fleet, path, within, handle = std::move(handle)](const Caller& caller,
                                                         const Request& request, auto reply) {
        const auto view = fleet.View();
        if (!view.has_value()) return AnswerHere(fleet, path, caller, request, std::move(reply));
        handle(*view, {.caller = caller, .method = path, .within = within}, request,
               std::move(reply));
      });
}

Fleet::Passing Of(Fleet::Stored stored, const Fleet::Passing& call) {
  Fleet::Passing passing = call;
  passing.stored = stored;
  return passing;
}

// Of a method about one client: whoever knows about it answers.
template <typename Request, typename Response>
void AddAboutClient(const Fleet& fleet, Methods& methods, const char* service, const char* method,
                    absl::Duration within = kNodePatience) {
  Add<Request, Response>(fleet, methods, service, method, within,
                         [&fleet](const base::ClusterView&, const Fleet::Passing& call,
                                  const Request& request, Reply<Response> reply) {
                           fleet.AskAbout<Response>(request.client_id(), call, request,
                                                    std::move(reply));
                         });
}

// Of a method that all nodes answer for their part: `merge` adds another node's to this one's, and
// `finish` comes behind all of them.
template <typename Request, typename Response>
void AddOfAll(const Fleet& fleet, Methods& methods, const char* service, const char* method,
              Fleet::Stored stored, std::function<void(Response& all, Response&& other)> merge,
              std::function<void(const Request&, Response& all)> finish) {
  Add<Request, Response>(fleet, methods, service, method, kNodeLongPatience,
                         [&fleet, stored, merge = std::move(merge), finish = std::move(finish)](
                             const base::ClusterView&, const Fleet::Passing& call,
                             const Request& request, Reply<Response> reply) {
                           fleet.Gather<Response>(
                               Of(stored, call), request,
                               [merge, finish, request, reply = std::move(reply)](auto gathered) {
                                 if (!gathered.ok()) return reply(gathered.status());
                                 Response all = std::move(gathered->here);
                                 for (Response& other : gathered->others)
                                   merge(all, std::move(other));
                                 finish(request, all);
                                 gathered->AddMissingTo(*all.mutable_missing());
                                 reply(std::move(all));
                               });
                         });
}

// ---- Cluster ------------------------------------------------------------------------------------

void AddNumbers(const base::ClusterView& view, pb::Member& member) {
  for (const base::ClusterView::Member& known : view.members) {
    if (known.uuid != member.node()) continue;
    member.set_number(known.node);
    member.set_incarnation(known.incarnation);
    member.set_cluster_address(known.address);
    member.set_zone(known.zone);
    if (member.version().empty()) member.set_version(known.release);
    member.set_partitions_led(static_cast<uint32_t>(
        std::count_if(view.partitions.begin(), view.partitions.end(),
                      [&](const auto& partition) { return partition.leader == known.node; })));
  }
}

void SetStatus(const base::ClusterView& view, Fleet::Gathered<pb::ClusterStatusResponse> gathered,
               pb::ClusterStatusResponse& status) {
  status = std::move(gathered.here);
  for (const pb::ClusterStatusResponse& other : gathered.others) {
    for (const pb::Member& member : other.members()) *status.add_members() = member;
    status.set_clients_connected(status.clients_connected() + other.clients_connected());
    status.set_sessions(status.sessions() + other.sessions());
    status.set_subscriptions(status.subscriptions() + other.subscriptions());
    status.set_retained_messages(status.retained_messages() + other.retained_messages());
    status.set_queued_messages(status.queued_messages() + other.queued_messages());
  }
  for (const pb::MissingNode& missing : gathered.missing) {
    pb::Member& member = *status.add_members();
    member.set_node(missing.node());
    member.set_state(pb::NODE_STATE_UNREACHED);
    member.set_problem(missing.reason());
  }
  gathered.AddMissingTo(*status.mutable_missing());
  bool all_ready = gathered.unled.empty();
  for (pb::Member& member : *status.mutable_members()) {
    AddNumbers(view, member);
    all_ready = all_ready && member.state() == pb::NODE_STATE_READY;
  }
  if (status.state() == pb::NODE_STATE_READY && !all_ready)
    status.set_state(pb::NODE_STATE_DEGRADED);
  std::sort(status.mutable_members()->begin() + 1, status.mutable_members()->end(),
            [](const pb::Member& a, const pb::Member& b) { return a.number() < b.number(); });
}

void AddCluster(const Fleet& fleet, Methods& methods) {
  Add<pb::ClusterStatusRequest, pb::ClusterStatusResponse>(
      fleet, methods, "Cluster", "Status", kNodePatience,
      [&fleet](const base::ClusterView& view, const Fleet::Passing& call,
               const pb::ClusterStatusRequest& request, auto reply) {
        fleet.Gather<pb::ClusterStatusResponse>(Of(Fleet::Stored::kAgain, call), request,
                                                [view, reply = std::move(reply)](auto gathered) {
                                                  if (!gathered.ok())
                                                    return reply(gathered.status());
                                                  pb::ClusterStatusResponse status;
                                                  SetStatus(view, *std::move(gathered), status);
                                                  reply(std::move(status));
                                                });
      });
}

// ---- Clients and sessions -----------------------------------------------------------------------

void Kick(const Fleet& fleet, const base::ClusterView&, const Fleet::Passing& call,
          const pb::KickClientsRequest& request, Reply<pb::KickClientsResponse> reply) {
  if (request.target_case() == pb::KickClientsRequest::kClientId) {
    return fleet.AskAbout<pb::KickClientsResponse>(request.client_id(), call, request,
                                                   std::move(reply));
  }
  fleet.Gather<pb::KickClientsResponse>(call, request, [reply = std::move(reply)](auto gathered) {
    if (!gathered.ok()) return reply(gathered.status());
    pb::KickClientsResponse all = std::move(gathered->here);
    for (const pb::KickClientsResponse& other : gathered->others)
      all.set_kicked(all.kicked() + other.kicked());
    gathered->AddMissingTo(*all.mutable_missing());
    reply(std::move(all));
  });
}

// A durable session's queue is known to its partition's leader, and its connection to another node.
void MergeSlow(pb::ListSlowSessionsResponse& all, pb::ListSlowSessionsResponse&& other) {
  std::map<std::string, pb::SlowSession> by_client;
  const auto take = [&by_client](pb::SlowSession&& slow) {
    pb::SlowSession& known = by_client[slow.client_id()];
    known.set_client_id(slow.client_id());
    known.set_durable(known.durable() || slow.durable());
    known.set_connected(known.connected() || slow.connected());
    known.set_queued_messages(std::max(known.queued_messages(), slow.queued_messages()));
    known.set_queued_bytes(std::max(known.queued_bytes(), slow.queued_bytes()));
    known.set_output_bytes(std::max(known.output_bytes(), slow.output_bytes()));
    known.set_inflight_out(std::max(known.inflight_out(), slow.inflight_out()));
    known.set_receive_maximum(std::max(known.receive_maximum(), slow.receive_maximum()));
    known.set_dropped_messages(std::max(known.dropped_messages(), slow.dropped_messages()));
  };
  for (pb::SlowSession& slow : *all.mutable_sessions()) take(std::move(slow));
  for (pb::SlowSession& slow : *other.mutable_sessions()) take(std::move(slow));
  all.clear_sessions();
  for (auto& [client_id, slow] : by_client) *all.add_sessions() = std::move(slow);
}

void FinishSlow(const pb::ListSlowSessionsRequest& request, pb::ListSlowSessionsResponse& all) {
  std::vector<pb::SlowSession> waiting;
  for (pb::SlowSession& slow : *all.mutable_sessions()) {
    // What is only in flight does not wait.
    if (slow.queued_messages() != 0 || slow.output_bytes() != 0) waiting.push_back(std::move(slow));
  }
  all.clear_sessions();
  for (pb::SlowSession& slow : Slowest(std::move(waiting), SlowCountOf(request)))
    *all.add_sessions() = std::move(slow);
}

// ---- Topics -------------------------------------------------------------------------------------

void MergeFilters(pb::ListFiltersResponse& all, pb::ListFiltersResponse&& other) {
  std::map<std::string, pb::FilterCount> by_filter;
  for (auto* const response : {&all, &other}) {
    for (pb::FilterCount& count : *response->mutable_filters()) {
      pb::FilterCount& known = by_filter[count.filter()];
      known.set_filter(count.filter());
      known.set_subscriptions(known.subscriptions() + count.subscriptions());
      known.set_durable(known.durable() + count.durable());
    }
  }
  // Those that both have were counted twice; of those that are not listed nobody knows.
  const uint64_t both =
      static_cast<uint64_t>(all.filters_size() + other.filters_size()) - by_filter.size();
  all.set_filters_total(all.filters_total() + other.filters_total() - both);
  all.set_subscriptions(all.subscriptions() + other.subscriptions());
  all.set_subscriptions_left_out(all.subscriptions_left_out() + other.subscriptions_left_out());
  all.clear_filters();
  for (auto& [filter, count] : by_filter) *all.add_filters() = std::move(count);
}

void ListFilters(const Fleet& fleet, const base::ClusterView&, const Fleet::Passing& call,
                 const pb::ListFiltersRequest& request, Reply<pb::ListFiltersResponse> reply) {
  // What is first on all nodes together need not be first on one of them.
  pb::ListFiltersRequest each = request;
  each.set_count(kFiltersListedMax);
  fleet.Gather<pb::ListFiltersResponse>(Of(Fleet::Stored::kAgain, call), each,
                                        [request, reply = std::move(reply)](auto gathered) {
                                          if (!gathered.ok()) return reply(gathered.status());
                                          pb::ListFiltersResponse all = std::move(gathered->here);
                                          for (pb::ListFiltersResponse& other : gathered->others)
                                            MergeFilters(all, std::move(other));
                                          KeepFirst(request, *all.mutable_filters());
                                          gathered->AddMissingTo(*all.mutable_missing());
                                          reply(std::move(all));
                                        });
}

// ---- Explain ------------------------------------------------------------------------------------

// As who is not known here the publisher is refused by nobody: then a client that connects could.
using WhoPublishes = std::function<void(absl::StatusOr<storage::SessionUser>)>;

void FindPublisher(const Fleet& fleet, const Caller& caller, const std::string& client_id,
                   WhoPublishes done) {
  pb::GetClientRequest connected;
  connected.set_client_id(client_id);
  const auto of_session = [&fleet, caller, client_id, done](const absl::Status& status) {
    if (!absl::IsNotFound(status)) return done(status);
    pb::GetSessionRequest kept;
    kept.set_client_id(client_id);
    fleet.AskAbout<pb::GetSessionResponse>(
        client_id, {.caller = caller, .method = PathOf("Sessions", "Get")}, kept,
        [client_id, done](const absl::StatusOr<pb::GetSessionResponse>& response) {
          if (!response.ok()) return done(response.status());
          done(storage::SessionUser{client_id, response->session().user_name(),
                                    response->session().listener()});
        });
  };
  fleet.AskAbout<pb::GetClientResponse>(
      client_id, {.caller = caller, .method = PathOf("Clients", "Get")}, connected,
      [client_id, done, of_session](const absl::StatusOr<pb::GetClientResponse>& response) {
        if (!response.ok()) return of_session(response.status());
        done(storage::SessionUser{client_id, response->client().user_name(),
                                  response->client().listener()});
      });
}

void AskDelivery(const Fleet& fleet, const Fleet::Passing& call,
                 const pb::ExplainDeliveryRequest& request,
                 Reply<pb::ExplainDeliveryResponse> reply) {
  if (!request.client_id().empty()) {
    return fleet.AskAbout<pb::ExplainDeliveryResponse>(request.client_id(), call, request,
                                                       std::move(reply));
  }
  fleet.Gather<pb::ExplainDeliveryResponse>(
      Of(Fleet::Stored::kAgain, call), request, [request, reply = std::move(reply)](auto gathered) {
        if (!gathered.ok()) return reply(gathered.status());
        const int count = static_cast<int>(ExplainedMax(request));
        pb::ExplainDeliveryResponse all = std::move(gathered->here);
        for (pb::ExplainDeliveryResponse& other : gathered->others) {
          all.set_more(all.more() || other.more());
          for (pb::Verdict& verdict : *other.mutable_verdicts()) {
            if (all.verdicts_size() == count) {
              all.set_more(true);
              break;
            }
            *all.add_verdicts() = std::move(verdict);
          }
          all.mutable_missing()->MergeFrom(other.missing());
        }
        gathered->AddMissingTo(*all.mutable_missing());
        reply(std::move(all));
      });
}

void Delivery(const Fleet& fleet, const base::ClusterView&, const Fleet::Passing& call,
              const pb::ExplainDeliveryRequest& request, Reply<pb::ExplainDeliveryResponse> reply) {
  if (request.publisher().empty()) return AskDelivery(fleet, call, request, std::move(reply));
  FindPublisher(
      fleet, call.caller, request.publisher(),
      [&fleet, call, request, reply](const absl::StatusOr<storage::SessionUser>& publisher) {
        if (!publisher.ok() && !absl::IsNotFound(publisher.status()))
          return reply(publisher.status());
        bool may = true;
        if (publisher.ok()) {
          (void)fleet.broker().WithServer([&](broker::Server& server) {
            may = server.MayPublish(*publisher, request.message().topic());
            return absl::OkStatus();
          });
        }
        if (may) return AskDelivery(fleet, call, request, reply);
        pb::ExplainDeliveryResponse refused;
        refused.set_publisher_refused(kPublisherRefused);
        reply(std::move(refused));
      });
}

}  // namespace

void AddClusterWide(const Fleet& fleet, Methods& methods) {
  const auto bind = [&fleet](auto handle) {
    return [&fleet, handle](const base::ClusterView& view, const Fleet::Passing& call,
                            const auto& request,
                            auto reply) { handle(fleet, view, call, request, std::move(reply)); };
  };
  AddCluster(fleet, methods);
  AddClusterPlacement(fleet, methods);
  AddClusterRoutes(fleet, methods);
  AddClusterLoss(fleet, methods);
  AddClusterLists(fleet, methods);
  AddAboutClient<pb::GetClientRequest, pb::GetClientResponse>(fleet, methods, "Clients", "Get");
  Add<pb::KickClientsRequest, pb::KickClientsResponse>(fleet, methods, "Clients", "Kick",
                                                       kNodeLongPatience, bind(&Kick));
  AddAboutClient<pb::GetSessionRequest, pb::GetSessionResponse>(fleet, methods, "Sessions", "Get");
  AddAboutClient<pb::ListSessionSubscriptionsRequest, pb::ListSessionSubscriptionsResponse>(
      fleet, methods, "Sessions", "ListSubscriptions");
  AddAboutClient<pb::ListQueueRequest, pb::ListQueueResponse>(fleet, methods, "Sessions",
                                                              "ListQueue");
  AddAboutClient<pb::ListInFlightRequest, pb::ListInFlightResponse>(fleet, methods, "Sessions",
                                                                    "ListInFlight");
  AddAboutClient<pb::DeleteSessionRequest, pb::DeleteSessionResponse>(fleet, methods, "Sessions",
                                                                      "Delete", kNodeLongPatience);
  AddOfAll<pb::ListSlowSessionsRequest, pb::ListSlowSessionsResponse>(
      fleet, methods, "Sessions", "ListSlow", Fleet::Stored::kAgain, &MergeSlow, &FinishSlow);
  Add<pb::ListFiltersRequest, pb::ListFiltersResponse>(fleet, methods, "Topics", "ListFilters",
                                                       kNodeLongPatience, bind(&ListFilters));
  Add<pb::ListMetricsRequest, pb::ListMetricsResponse>(fleet, methods, "Metrics", "List",
                                                       kNodePatience, bind(&ListMetricsOfAll));
  AddOfAll<pb::DeleteRetainedRequest, pb::DeleteRetainedResponse>(
      fleet, methods, "Retained", "Delete", Fleet::Stored::kMore,
      [](pb::DeleteRetainedResponse& all, pb::DeleteRetainedResponse&& other) {
        all.set_deleted(all.deleted() + other.deleted());
      },
      [](const pb::DeleteRetainedRequest&, pb::DeleteRetainedResponse&) {});
  AddAboutClient<pb::ExplainOwnerRequest, pb::ExplainOwnerResponse>(fleet, methods, "Explain",
                                                                    "Owner");
  Add<pb::ExplainDeliveryRequest, pb::ExplainDeliveryResponse>(
      fleet, methods, "Explain", "Delivery", kNodeLongPatience, bind(&Delivery));
}

}  // namespace admin
