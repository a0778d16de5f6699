#include "admin/api/fleet.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/by_name.h"
#include "base/mutex.h"
#include "storage/core/keys.h"

namespace admin {
namespace {

// Calls of one method that other nodes pass on and that are under way here, or that nobody there
// waits for any more: each of them has a bound of its own (admin.calls_max).
constexpr uint32_t kServingMax = 256;
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
                        .connection = call.connection,
                        .names_led = call.stored != Stored::kNothing};
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
  const uint64_t led = call.names_led ? broker_.sources().partitions_led() : 0;
  method->once(caller, *request,
               [this, request, led, names_led = call.names_led, reply = std::move(reply)](
                   const absl::Status& status, const Message* response) {
                 base::NodeReply said{.status = status,
                                      .elsewhere = ElsewhereOf(status),
                                      .not_led = IsNotLedHere(status)};
                 // A node that is starting, or stopping, leads nothing.
                 if (absl::IsUnavailable(status) && !broker_.open()) said.not_led = true;
                 if (names_led) said.led = led & broker_.sources().partitions_led();
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
  const Method* const called = here_.Find(call.method);
  std::atomic<uint32_t>* serving = nullptr;
  {
    base::MutexLock lock(mutex_);
    serving = &serving_[called];
  }
  if (serving->fetch_add(1) >= kServingMax) {
    serving->fetch_sub(1);
    const std::string silent = broker_.Silent();
    return reply({.status = absl::ResourceExhaustedError(
                      absl::StrCat(kServingMax, " calls of ", call.method,
                                   " that other nodes passed on are not answered yet",
                                   silent.empty() ? "" : ": ", silent))});
  }
  const auto permit = std::make_shared<Calls::Permit>(*serving);
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

// Who is believed to lead, then one replica after the other, until one says anything but that it
// does not lead; and all of that again while most of them say so, by what is known then.
class Fleet::Search : public std::enable_shared_from_this<Search> {
 public:
  Search(const Fleet& fleet, uint32_t partition, const Passing& call, const Message& request,
         base::NodeAnswer done)
      : fleet_(fleet),
        partition_(partition),
        until_(call.leaders_until.value_or(fleet.Now() + kLeaderPatience)),
        call_(call),
        request_(request.New()),
        done_(std::move(done)) {
    request_->CopyFrom(request);
  }

  void Begin() {
    const std::optional<base::ClusterView> view = fleet_.View();
    if (!view.has_value() || partition_ >= view->partitions.size())
      return done_(absl::UnavailableError("this node is in no cluster"));
    const base::ClusterView::Partition& group = view->partitions[partition_];
    replicas_ = group.replicas.size();
    nodes_.clear();
    Add(group.leader);
    Add(group.preferred);
    for (const uint32_t node : group.replicas) Add(node);
    at_ = 0;
    follow_ = 0;
    last_ = base::NodeReply{.status = NotLedHere(), .not_led = true};
    Next();
  }

 private:
  void Add(uint32_t node) {
    if (node != 0 && std::find(nodes_.begin(), nodes_.end(), node) == nodes_.end())
      nodes_.push_back(node);
  }
  void Next() {
    if (at_ == nodes_.size()) return TryAgain();
    // What was spent with waiting is missing at the end.
    const absl::Duration left = until_ - kLeaderPatience + kNodeLongPatience - fleet_.Now();
    call_.within = std::min(call_.within, left);
    fleet_.AskNode(nodes_[at_], call_, *request_,
                   [self = shared_from_this()](absl::StatusOr<base::NodeReply> reply) {
                     self->On(std::move(reply));
                   });
  }
  void On(absl::StatusOr<base::NodeReply> reply) {
    const bool answered = reply.ok() && !reply->not_led;
    if (answered) return done_(std::move(reply));
    if (reply.ok()) {
      ++follow_;
      if (last_.ok()) last_ = std::move(reply);
    } else if (at_ == 0) {  // The leader, as far as is known: that is what is wrong.
      last_ = absl::Status(reply.status().code(),
                           absl::StrCat("node ", nodes_[at_], ": ", reply.status().message()));
    }
    ++at_;
    Next();
  }
  void TryAgain() {
    const bool elect = 2 * follow_ > replicas_;
    if (elect && fleet_.WaitUntil(until_, [self = shared_from_this()] { self->Begin(); })) return;
    done_(std::move(last_));
  }

  const Fleet& fleet_;
  const uint32_t partition_;
  const absl::Duration until_;
  Passing call_;
  const std::unique_ptr<Message> request_;
  const base::NodeAnswer done_;
  // Of this round.
  std::vector<uint32_t> nodes_;
  size_t replicas_ = 0;
  size_t at_ = 0;
  size_t follow_ = 0;  // So many say that they do not lead.
  absl::StatusOr<base::NodeReply> last_;
};

void Fleet::AskOneOf(uint32_t partition, const Passing& call, const Message& request,
                     base::NodeAnswer done) const {
  std::make_shared<Search>(*this, partition, call, request, std::move(done))->Begin();
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
  AskOneOf(partition, call, request,
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
  Round(size_t nodes, std::function<void(std::vector<Answer>)> done)
      : left_(nodes), answers_(nodes), done_(std::move(done)) {}

  void On(size_t place, uint32_t node, absl::StatusOr<base::NodeReply> reply) {
    {
      base::MutexLock lock(mutex_);
      answers_[place] = {node, std::move(reply)};
      if (--left_ != 0) return;
    }
    done_(std::move(answers_));  // Nobody else comes any more.
  }

 private:
  base::Mutex mutex_;
  size_t left_;
  std::vector<Answer> answers_;
  const std::function<void(std::vector<Answer>)> done_;
};

// All members at once; and, where their answers are about what is stored, again until each
// partition has been answered for by the one that leads it.
class Fleet::Rounds : public std::enable_shared_from_this<Rounds> {
 public:
  Rounds(const Fleet& fleet, const Passing& call, const Message& request,
         std::function<void(const Answers&)> done)
      : fleet_(fleet),
        until_(call.leaders_until.value_or(fleet.Now() + kLeaderPatience)),
        call_(call),
        request_(request.New()),
        done_(std::move(done)) {
    request_->CopyFrom(request);
  }

  void Begin() {
    auto view = fleet_.View();
    if (!view.has_value() || view->members.empty()) {
      const absl::Status nowhere = absl::UnavailableError("this node is in no cluster");
      return done_({.view = {}, .all = {{.node = 0, .reply = nowhere}}, .unled = {}});
    }
    answers_.view = *std::move(view);
    // What was spent with waiting is missing at the end.
    call_.within =
        std::min(call_.within, until_ - kLeaderPatience + kNodeLongPatience - fleet_.Now());
    const std::vector<base::ClusterView::Member>& members = answers_.view.members;
    const auto round = std::make_shared<Round>(
        members.size(),
        [self = shared_from_this()](std::vector<Answer> said) { self->On(std::move(said)); });
    // Behind the last answer somebody else may be at work with `answers_`.
    std::vector<uint32_t> nodes;
    for (const base::ClusterView::Member& member : members) nodes.push_back(member.node);
    for (size_t place = 0; place < nodes.size(); ++place) {
      const uint32_t node = nodes[place];
      fleet_.AskNode(node, call_, *request_,
                     [round, place, node](absl::StatusOr<base::NodeReply> reply) {
                       round->On(place, node, std::move(reply));
                     });
    }
  }

 private:
  void On(std::vector<Answer> said) {
    const bool again = call_.stored != Stored::kNothing && FindUnled(said);
    answers_.all.insert(answers_.all.end(), said.begin(), said.end());
    if (!again) return done_(answers_);
    std::vector<Answer> kept = call_.stored == Stored::kMore ? answers_.all : std::vector<Answer>();
    std::erase_if(kept, [](const Answer& answer) {
      return !answer.reply.ok() || !answer.reply->status.ok();
    });
    for (Answer& answer : kept) answer.earlier = true;
    Answers now = std::exchange(answers_, {.view = answers_.view, .all = std::move(kept)});
    // Taken back if there is no next round.
    const auto last = std::make_shared<const Answers>(std::move(now));
    if (!fleet_.WaitUntil(until_, [self = shared_from_this()] { self->Begin(); })) done_(*last);
  }

  // Whether partitions were answered for by nobody, or twice, and it is worth while to ask again.
  bool FindUnled(const std::vector<Answer>& said) {
    const std::vector<base::ClusterView::Partition>& partitions = answers_.view.partitions;
    std::map<uint32_t, const base::NodeReply*> replies;
    for (const Answer& answer : said) {
      if (!answer.reply.ok() || !answer.reply->status.ok()) continue;
      if (!answer.reply->led.has_value()) return false;  // Of a release that does not say.
      replies[answer.node] = &*answer.reply;
    }
    bool again = false;
    std::map<uint32_t, std::vector<size_t>> unled;
    std::map<uint32_t, std::vector<size_t>> twice;
    for (size_t id = 0; id < partitions.size(); ++id) {
      size_t leaders = 0;
      for (const auto& [node, reply] : replies) leaders += *reply->led >> id & 1;
      if (leaders == 1) continue;
      const auto answer =
          std::count_if(partitions[id].replicas.begin(), partitions[id].replicas.end(),
                        [&](uint32_t node) { return replies.contains(node); });
      again = again || 2 * static_cast<size_t>(answer) > partitions[id].replicas.size();
      const uint32_t leader = partitions[id].leader;
      (leaders == 0 ? unled : twice)[leader != 0 ? leader : partitions[id].preferred].push_back(id);
    }
    AddUnled(unled, "nobody leads partition ", " just now: what is stored there is left out");
    AddUnled(twice, "partition ",
             " has got another leader just now: what is stored there may be counted twice");
    return again;
  }
  void AddUnled(const std::map<uint32_t, std::vector<size_t>>& ids_by_node, const char* before,
                const char* behind) {
    for (const auto& [node, ids] : ids_by_node) {
      answers_.unled.push_back(
          Missing(answers_.view, node,
                  absl::UnavailableError(absl::StrCat(before, absl::StrJoin(ids, ", "), behind))));
    }
  }

  const Fleet& fleet_;
  const absl::Duration until_;
  Passing call_;
  const std::unique_ptr<Message> request_;
  const std::function<void(const Answers&)> done_;
  Answers answers_;  // Of the rounds so far.
};

void Fleet::AskAll(const Passing& call, const Message& request,
                   std::function<void(const Answers&)> done) const {
  std::make_shared<Rounds>(*this, call, request, std::move(done))->Begin();
}

}  // namespace admin
