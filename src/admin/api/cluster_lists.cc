// Lists of a cluster: from one node or partition to the next. A page's token says how far it has
// come, "PLACE/TOKEN": TOKEN is that of the list there, or empty at its beginning. So nothing is
// listed twice or left out, whoever leads and whichever node is asked for the next page.
#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "admin/api/client_pages.h"
#include "admin/api/cluster_wide.h"
#include "admin/api/sessions_service.h"
#include "mqttd/admin/v1/clients.pb.h"
#include "mqttd/admin/v1/sessions.pb.h"

namespace admin {
namespace {

// Where a list stands: at the durable sessions of a partition, or at what a node has. "p3/3:17",
// "n2/0:55".
struct Place {
  bool of_partition = false;
  uint32_t number = 0;
  std::string token;
};

std::string ToToken(const Place& place) {
  return absl::StrCat(place.of_partition ? "p" : "n", place.number, "/", place.token);
}

absl::StatusOr<Place> ToPlace(const std::string& token, Place begin) {
  if (token.empty()) return begin;
  Place place;
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(token, absl::MaxSplits('/', 1));
  absl::string_view number = parts.first;
  place.of_partition = absl::ConsumePrefix(&number, "p");
  place.token = std::string(parts.second);
  if ((place.of_partition || absl::ConsumePrefix(&number, "n")) &&
      absl::SimpleAtoi(number, &place.number))
    return place;
  return absl::InvalidArgumentError("page.token: not one that a page before gave");
}

// One page. `Request` and `Response` are those of the list.
template <typename Request, typename Response>
class PageWalk : public std::enable_shared_from_this<PageWalk<Request, Response>> {
 public:
  PageWalk(const Fleet& fleet, base::ClusterView view, Fleet::Passing call, const Request& request,
           Reply<Response> reply)
      : fleet_(fleet),
        view_(std::move(view)),
        call_(std::move(call)),
        request_(request),
        entries_max_(PageSizeOf(request.page())),
        reply_(std::move(reply)) {
    call_.leaders_until = fleet_.Now() + kLeaderPatience;
  }

  void Start() {
    Place begin;
    begin.of_partition = kHasPartitions;
    auto place = ToPlace(request_.page().token(), begin);
    if (!place.ok()) return reply_(place.status());
    place_ = *std::move(place);
    response_.mutable_page();
    if (place_.of_partition && !kHasPartitions)
      return reply_(absl::InvalidArgumentError("page.token: that of another list"));
    Step();
  }

 private:
  static constexpr bool kHasPartitions = std::is_same_v<Response, pb::ListSessionsResponse>;

  static int SizeOf(const Response& response) {
    if constexpr (kHasPartitions)
      return response.sessions_size();
    else
      return response.clients_size();
  }
  size_t room() const { return entries_max_ - static_cast<size_t>(SizeOf(response_)); }

  void Step() {
    if (place_.of_partition && place_.number >= view_.partitions.size()) place_ = {};
    if (!place_.of_partition) {
      // Members in the order of their numbers: which there are may change from page to page.
      const auto next = std::find_if(
          view_.members.begin(), view_.members.end(),
          [this](const base::ClusterView::Member& each) { return each.node >= place_.number; });
      if (next == view_.members.end()) return reply_(std::move(response_));
      if (next->node != place_.number) place_ = {.number = next->node};
    }
    if (room() == 0) {
      response_.mutable_page()->set_next(ToToken(place_));
      return reply_(std::move(response_));
    }
    Ask();
  }

  void Ask() {
    Request request = request_;
    request.mutable_page()->set_size(static_cast<uint32_t>(room()));
    const auto take = [self = this->shared_from_this()](auto said) { self->Take(std::move(said)); };
    if (place_.of_partition) {
      const uint64_t partition = kOnePartition | place_.number;
      request.mutable_page()->set_token(place_.token.empty() ? PageToken(partition, 0)
                                                             : place_.token);
      return fleet_.AskLeader<Response>(place_.number, call_, request, take);
    }
    const std::string begin = kHasPartitions ? PageToken(kTransient, 0) : "";
    request.mutable_page()->set_token(place_.token.empty() ? begin : place_.token);
    fleet_.Ask<Response>(place_.number, call_, request, take);
  }

  void Take(absl::StatusOr<Fleet::Said<Response>> said) {
    const absl::Status status = said.ok() ? said->status : said.status();
    if (absl::IsInvalidArgument(status)) return reply_(status);
    if (!status.ok()) {
      Miss(status);
      return Step();
    }
    place_.token = said->response.page().next();
    response_.MergeFrom(WithoutPage(std::move(said->response)));
    if (place_.token.empty()) ++place_.number;
    Step();
  }

  static Response WithoutPage(Response response) {
    response.clear_page();
    return response;
  }

  // The list goes on behind what nobody answered for.
  void Miss(const absl::Status& status) {
    uint32_t node = place_.number;
    if (place_.of_partition) {
      const base::ClusterView::Partition& partition = view_.partitions[place_.number];
      node = partition.leader != 0 ? partition.leader : partition.preferred;
    }
    pb::MissingNode missing = Fleet::Missing(view_, node, status);
    const auto& all = response_.page().missing();
    const bool named = std::any_of(all.begin(), all.end(), [&](const pb::MissingNode& each) {
      return each.node() == missing.node();
    });
    if (!named) *response_.mutable_page()->add_missing() = std::move(missing);
    place_ = {.of_partition = place_.of_partition, .number = place_.number + 1};
  }

  const Fleet& fleet_;
  const base::ClusterView view_;
  Fleet::Passing call_;
  const Request request_;
  const size_t entries_max_;
  const Reply<Response> reply_;
  Place place_;
  Response response_;
};

template <typename Request, typename Response>
void AddList(const Fleet& fleet, Methods& methods, const char* service) {
  const std::string name = absl::StrCat("mqttd.admin.v1.", service);
  const std::string path = absl::StrCat("/", name, "/List");
  methods.Add<Request, Response>(
      name, "List", [&fleet, path](const Caller& caller, const Request& request, auto reply) {
        auto view = fleet.View();
        if (!view.has_value()) {
          return reply(absl::UnavailableError("this node is not in its cluster yet: try again"));
        }
        std::make_shared<PageWalk<Request, Response>>(
            fleet, *std::move(view), Fleet::Passing{.caller = caller, .method = path}, request,
            std::move(reply))
            ->Start();
      });
}

}  // namespace

void AddClusterLists(const Fleet& fleet, Methods& methods) {
  AddList<pb::ListClientsRequest, pb::ListClientsResponse>(fleet, methods, "Clients");
  AddList<pb::ListSessionsRequest, pb::ListSessionsResponse>(fleet, methods, "Sessions");
}

}  // namespace admin
