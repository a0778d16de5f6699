#include "admin/api/fleet.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/mutex.h"
#include "storage/core/keys.h"

namespace admin {
namespace {

// Calls that other nodes pass on and that are under way here: each of them has a bound of its own
// (admin.calls_max), and a cluster has 64 nodes at most.
constexpr uint32_t kServingMax = 1024;
// What goes over a link at once.
constexpr size_t kResponseBytesMax = 8 << 20;

std::string NameOf(const base::ClusterView& view, uint32_t node) {
  for (const base::ClusterView::Member& member : view.members) {
    if (member.node == node && !member.uuid.empty()) return member.uuid;
  }
  return absl::StrCat("node ", node);
}

}  // namespace

std::optional<base::ClusterView> Fleet::View() const {
  if (broker_.sources().cluster == nullptr) return std::nullopt;
  base::ClusterView view = broker_.sources().cluster();
  if (view.node == 0) return std::nullopt;
  return view;
}

absl::StatusOr<uint32_t> Fleet::NumberOf(const base::ClusterView& view, const std::string& node) {
  for (const base::ClusterView::Member& member : view.members) {
    if (member.uuid == node || absl::StrCat(member.node) == node) return member.node;
  }
  return absl::NotFoundError(absl::StrCat("the cluster has no node \"", node, "\""));
}

pb::MissingNode Fleet::Missing(const base::ClusterView& view, uint32_t node,
                               const absl::Status& why) {
  pb::MissingNode missing;
  missing.set_node(NameOf(view, node));
  missing.set_reason(absl::StrCat("node ", node, ": ", why.message()));
  return missing;
}

// ---- One node -----------------------------------------------------------------------------------

void Fleet::AskNode(uint32_t node, const Passing& call, const Message& request,
                    base::NodeAnswer done) const {
  base::NodeCall passed{.method = call.method,
                        .request = request.SerializeAsString(),
                        .caller = call.caller.name,
                        .address = call.caller.address,
                        .role = static_cast<uint32_t>(call.caller.role),
                        .connection = call.connection};
  const std::optional<base::ClusterView> view = View();
  if (!view.has_value()) return done(absl::UnavailableError("this node is in no cluster"));
  if (node != view->node)
    return broker_.sources().call_node(node, std::move(passed), call.within, std::move(done));
  Caller caller = call.caller;
  caller.passed_on = true;
  if (call.connection.has_value()) caller.connection = ToConnectionRef(*call.connection);
  AnswerHere(passed, caller,
             [done = std::move(done)](base::NodeReply reply) { done(std::move(reply)); });
}

void Fleet::AnswerHere(const base::NodeCall& call, const Caller& caller,
                       std::function<void(base::NodeReply)> reply) const {
  const Method* const method = here_.Find(call.method);
  const auto refuse = [&](absl::Status status) { reply({.status = std::move(status)}); };
  if (method == nullptr || !method->once) {
    return refuse(absl::UnimplementedError(
        absl::StrCat("this node has no method ", call.method, ": it may be of another release")));
  }
  const std::shared_ptr<Message> request(method->request->New());
  if (!request->ParseFromString(call.request))
    return refuse(absl::InvalidArgumentError("the request is damaged"));
  if (absl::Status allowed = CheckRole(*method, caller); !allowed.ok())
    return refuse(std::move(allowed));
  method->once(
      caller, *request,
      [request, reply = std::move(reply)](const absl::Status& status, const Message* response) {
        base::NodeReply said{
            .status = status, .elsewhere = ElsewhereOf(status), .not_led = IsNotLedHere(status)};
        if (status.ok() && response->ByteSizeLong() > kResponseBytesMax) {
          said.status = absl::ResourceExhaustedError(absl::StrCat(
              "the answer has ", response->ByteSizeLong(), " bytes, and nodes pass on ",
              kResponseBytesMax, ": ask for less at a time"));
        } else if (status.ok()) {
          said.response = response->SerializeAsString();
        }
        reply(std::move(said));
      });
}

void Fleet::Serve(uint32_t from, base::NodeCall call, std::function<void(base::NodeReply)> reply) {
  Caller caller{.name = call.caller,
                .address = absl::StrCat(call.address, " by node ", from),
                .role = static_cast<pb::Role>(call.role),
                .passed_on = true};
  if (call.connection.has_value()) caller.connection = ToConnectionRef(*call.connection);
  if (serving_.fetch_add(1) >= kServingMax) {
    serving_.fetch_sub(1);
    return reply({.status = absl::ResourceExhaustedError("too many calls of other nodes")});
  }
  const auto permit = std::make_shared<Calls::Permit>(serving_);
  const auto passed = std::make_shared<const base::NodeCall>(std::move(call));
  AnswerHere(*passed, caller, [this, passed, caller, permit, reply](base::NodeReply said) {
    const Method* const method = here_.Find(passed->method);
    if (method != nullptr && method->audited()) {
      const std::unique_ptr<Message> request(method->request->New());
      const bool readable = request->ParseFromString(passed->request);
      Audit(*method, caller, readable ? request.get() : nullptr, said.status);
    }
    reply(std::move(said));
  });
}

// ---- The leader of a partition ------------------------------------------------------------------

std::vector<uint32_t> Fleet::LeadersOf(const base::ClusterView& view, uint32_t partition) {
  std::vector<uint32_t> nodes;
  if (partition >= view.partitions.size()) return nodes;
  const base::ClusterView::Partition& group = view.partitions[partition];
  const auto add = [&nodes](uint32_t node) {
    if (node != 0 && std::find(nodes.begin(), nodes.end(), node) == nodes.end())
      nodes.push_back(node);
  };
  add(group.leader);
  add(group.preferred);
  for (const uint32_t node : group.replicas) add(node);
  return nodes;
}

// One after the other, until one says anything but that it does not lead.
class Fleet::Search : public std::enable_shared_from_this<Search> {
 public:
  Search(const Fleet& fleet, std::vector<uint32_t> nodes, Passing call, const Message& request,
         base::NodeAnswer done)
      : fleet_(fleet),
        nodes_(std::move(nodes)),
        call_(std::move(call)),
        request_(request.New()),
        done_(std::move(done)) {
    request_->CopyFrom(request);
  }

  void Next() {
    if (at_ == nodes_.size()) return done_(std::move(last_));
    fleet_.AskNode(nodes_[at_], call_, *request_,
                   [self = shared_from_this()](absl::StatusOr<base::NodeReply> reply) {
                     self->On(std::move(reply));
                   });
  }

 private:
  void On(absl::StatusOr<base::NodeReply> reply) {
    const bool answered = reply.ok() && !reply->not_led;
    if (answered) return done_(std::move(reply));
    if (!reply.ok() && at_ == 0) {  // The leader, as far as is known: that is what is wrong.
      last_ = absl::Status(reply.status().code(),
                           absl::StrCat("node ", nodes_[at_], ": ", reply.status().message()));
    } else if (reply.ok() && last_.ok()) {
      last_ = std::move(reply);
    }
    ++at_;
    Next();
  }

  const Fleet& fleet_;
  const std::vector<uint32_t> nodes_;
  const Passing call_;
  const std::unique_ptr<Message> request_;
  const base::NodeAnswer done_;
  size_t at_ = 0;
  absl::StatusOr<base::NodeReply> last_ = base::NodeReply{.status = NotLedHere(), .not_led = true};
};

void Fleet::AskOneOf(std::vector<uint32_t> nodes, const Passing& call, const Message& request,
                     base::NodeAnswer done) const {
  std::make_shared<Search>(*this, std::move(nodes), call, request, std::move(done))->Next();
}

void Fleet::AskAboutClient(const std::string& client_id, const Passing& call,
                           const Message& request, base::NodeAnswer done) const {
  const std::optional<base::ClusterView> view = View();
  if (!view.has_value() || view->partitions.empty())
    return done(absl::UnavailableError("this node is in no cluster"));
  const uint32_t partition =
      storage::PartitionOfClient(client_id, static_cast<uint32_t>(view->partitions.size()));
  const std::shared_ptr<Message> copy(request.New());
  copy->CopyFrom(request);
  AskOneOf(LeadersOf(*view, partition), call, request,
           [this, call, copy, done = std::move(done)](absl::StatusOr<base::NodeReply> reply) {
             if (!reply.ok() || !reply->elsewhere.has_value()) return done(std::move(reply));
             Passing there = call;
             there.connection = reply->elsewhere;
             const uint32_t node = there.connection->node;
             AskNode(node, there, *copy, [node, done](absl::StatusOr<base::NodeReply> said) {
               if (said.ok()) return done(std::move(said));
               done(absl::UnavailableError(absl::StrCat("the client is connected at node ", node,
                                                        ": ", said.status().message())));
             });
           });
}

// ---- All ----------------------------------------------------------------------------------------

class Fleet::Round {
 public:
  Round(size_t nodes, std::function<void(const std::vector<Answer>&)> done)
      : left_(nodes), answers_(nodes), done_(std::move(done)) {}

  void On(size_t place, uint32_t node, absl::StatusOr<base::NodeReply> reply) {
    {
      base::MutexLock lock(mutex_);
      answers_[place] = {node, std::move(reply)};
      if (--left_ != 0) return;
    }
    done_(answers_);  // Nobody else comes any more.
  }

 private:
  base::Mutex mutex_;
  size_t left_;
  std::vector<Answer> answers_;
  const std::function<void(const std::vector<Answer>&)> done_;
};

void Fleet::AskAll(const base::ClusterView& view, const Passing& call, const Message& request,
                   std::function<void(const std::vector<Answer>&)> done) const {
  if (view.members.empty()) return done({});
  const auto round = std::make_shared<Round>(view.members.size(), std::move(done));
  for (size_t place = 0; place < view.members.size(); ++place) {
    const uint32_t node = view.members[place].node;
    AskNode(node, call, request, [round, place, node](absl::StatusOr<base::NodeReply> reply) {
      round->On(place, node, std::move(reply));
    });
  }
}

}  // namespace admin
