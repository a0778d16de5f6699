#include "cluster/discovery/finder.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/inbox.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "cluster/discovery/identity_file.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;

// What the finder's thread is told.
struct Answered {
  std::string address;
  uint64_t number = 0;
  pb::BootstrapView view;
};
struct Asked {
  pb::BootstrapView view;
  std::function<void(const pb::BootstrapView&)> answer;
};
struct Joined {
  uint64_t order = 0;  // By which it was asked.
  absl::StatusOr<pb::JoinResponse> response;
};
struct Ordered {
  std::vector<std::string> addresses;
  std::function<void(absl::Status)> done;
};
struct Resolved {
  absl::StatusOr<std::vector<std::string>> seeds;
};
// Outlives the finder in the hands of those who have not answered yet.
using Inbox = base::Inbox<std::variant<Answered, Asked, Joined, Ordered, Resolved>>;

class RealFinder final : public Finder {
 public:
  RealFinder(FinderOptions options, pb::NodeIdentity identity, Links& links,
             std::shared_ptr<Resolver> resolver, const base::Clock& clock, Found found)
      : options_(std::move(options)),
        links_(links),
        resolver_(std::move(resolver)),
        clock_(clock),
        found_(std::move(found)),
        bootstrap_(options_.bootstrap, std::move(identity), base::Rng::FromEntropy()),
        thread_([this] { Run(); }) {}
  ~RealFinder() override { Stop(); }

  void OnMeet(const pb::BootstrapView& view,
              std::function<void(const pb::BootstrapView&)> answer) override {
    inbox_->Post(Asked{view, std::move(answer)});
  }
  void LookAt(std::vector<std::string> addresses, std::function<void(absl::Status)> done) override {
    inbox_->Post(Ordered{std::move(addresses), std::move(done)});
  }
  std::string why() const override {
    base::MutexLock lock(mutex_);
    return why_;
  }
  void Stop() override {
    inbox_->Stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Run();
  void On(Answered& answered);
  void On(Asked& asked);
  void On(Joined& joined);
  void On(Ordered& ordered);
  void On(Resolved& resolved);
  void LeaveUnused(const absl::StatusOr<pb::JoinResponse>& response);
  bool Save();
  void Look(absl::Duration now);
  void Join(absl::Duration now);
  void ResolveIfDue(absl::Duration now);
  void SetWhy(std::string why);

  const FinderOptions options_;
  Links& links_;
  const std::shared_ptr<Resolver> resolver_;
  const base::Clock& clock_;
  const Found found_;
  const std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();

  // ---- The finder's thread.
  Bootstrap bootstrap_;
  bool handed_over_ = false;  // `found_` was called.
  uint64_t order_ = 0;        // So many times an operator said where the cluster is.
  bool joining_ = false;
  absl::Duration next_join_ = -absl::InfiniteDuration();
  size_t join_turn_ = 0;
  std::string ask_at_;  // Where it was said that joining is decided.
  std::string join_why_;
  uint32_t incarnation_ = 1;  // As which it asks to join.
  std::string disk_why_;
  std::string dns_why_;
  bool resolving_ = false;
  absl::Duration next_resolve_ = -absl::InfiniteDuration();
  std::string logged_;

  mutable base::Mutex mutex_;
  std::string why_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // Last: it uses all of it.
};

void RealFinder::Run() {
  do {
    for (auto& input : inbox_->Take()) std::visit([this](auto& value) { On(value); }, input);
    const absl::Duration now = clock_.Monotonic();
    ResolveIfDue(now);
    Look(now);
  } while (inbox_->Sleep(options_.bootstrap.asked_every / 2));
}

// What is promised has to be on the disk before anybody hears of it. False: it is not, and nobody
// may; it is tried again.
bool RealFinder::Save() {
  if (const auto identity = bootstrap_.TakeWrite()) {
    const absl::Status status = WriteIdentity(options_.directory, *identity);
    disk_why_ = status.ok() ? "" : std::string(status.message());
    if (!status.ok()) bootstrap_.WriteAgain();
  }
  return disk_why_.empty();
}

void RealFinder::Look(absl::Duration now) {
  const std::vector<Bootstrap::Ask> asks = bootstrap_.Tick(now);
  if (!Save()) return SetWhy(disk_why_);
  for (const Bootstrap::Ask& ask : asks) {
    links_.Meet(ask.address, ask.view, options_.answered_within,
                [inbox = inbox_, address = ask.address,
                 number = ask.number](absl::StatusOr<pb::BootstrapView> view) {
                  if (view.ok()) inbox->Post(Answered{address, number, *std::move(view)});
                });
  }
  if (bootstrap_.state() == Bootstrap::State::kJoin) Join(now);
  if (bootstrap_.state() == Bootstrap::State::kMember && !std::exchange(handed_over_, true)) {
    base::Log(
        base::LogLevel::kInfo, "cluster found",
        {{"cluster", bootstrap_.identity().cluster_id()}, {"node", bootstrap_.identity().node()}});
    found_(bootstrap_.identity());
  }
  std::string why = bootstrap_.why();
  if (why.empty() && !handed_over_) why = join_why_;
  if (!dns_why_.empty() && !handed_over_) absl::StrAppend(&why, why.empty() ? "" : "; ", dns_why_);
  SetWhy(std::move(why));
}

void RealFinder::SetWhy(std::string why) {
  if (why != logged_ && !why.empty())
    base::LogLimited(base::LogLevel::kInfo, "no cluster yet", "waiting", {{"why", why}});
  logged_ = why;
  base::MutexLock lock(mutex_);
  why_ = std::move(why);
}

void RealFinder::On(Answered& answered) {
  bootstrap_.OnAnswer(answered.address, answered.number, answered.view, clock_.Monotonic());
  (void)Save();
}

void RealFinder::On(Asked& asked) {
  const pb::BootstrapView view = bootstrap_.OnAsked(asked.view, clock_.Monotonic());
  if (Save()) asked.answer(view);
}

// One member after the other, until one says yes.
void RealFinder::Join(absl::Duration now) {
  if (joining_ || now < next_join_) return;
  std::vector<std::string> addresses = bootstrap_.join_at();
  if (addresses.empty()) return;
  const std::string address =
      ask_at_.empty() ? addresses[join_turn_++ % addresses.size()] : std::exchange(ask_at_, "");
  pb::JoinRequest request;
  request.set_cluster_id(bootstrap_.join_cluster());
  pb::AdmitNode& node = *request.mutable_node();
  node.set_uuid(options_.bootstrap.uuid);
  node.set_start(options_.bootstrap.start);
  node.set_incarnation(incarnation_);
  node.set_cluster_address(options_.bootstrap.address);
  for (const std::string& client : options_.client_addresses) node.add_client_addresses(client);
  node.set_release(options_.bootstrap.release);
  node.set_level_max(options_.bootstrap.level_max);
  node.set_zone(options_.bootstrap.zone);
  node.set_shards(options_.shards);
  joining_ = true;
  next_join_ = now + options_.bootstrap.asked_every;
  links_.Join(address, request, options_.answered_within,
              [inbox = inbox_, order = order_](absl::StatusOr<pb::JoinResponse> response) {
                inbox->Post(Joined{order, std::move(response)});
              });
}

void RealFinder::On(Joined& joined) {
  joining_ = false;
  if (joined.order != order_) return LeaveUnused(joined.response);
  if (!joined.response.ok()) {
    join_why_ = absl::StrCat("asked to join the cluster: ", joined.response.status().message());
    return;
  }
  const pb::JoinResponse& response = *joined.response;
  ask_at_ = response.ask_at();
  if (!ask_at_.empty()) next_join_ = -absl::InfiniteDuration();
  if (!response.why().empty() || response.node() == 0) {
    join_why_ = absl::StrCat("the cluster does not admit this node: ", response.why());
    // It was admitted, and never heard of it.
    incarnation_ = std::max(incarnation_, response.incarnation() + 1);
    return;
  }
  if (response.cluster_id() != bootstrap_.join_cluster()) return LeaveUnused(joined.response);
  join_why_.clear();
  pb::NodeIdentity identity;
  identity.set_cluster_id(response.cluster_id());
  identity.set_node(response.node());
  identity.set_incarnation(response.incarnation());
  *identity.mutable_members() = response.members();
  bootstrap_.OnJoined(identity);
  (void)Save();
}

// An answer to what was asked before an operator said something else.
void RealFinder::LeaveUnused(const absl::StatusOr<pb::JoinResponse>& response) {
  if (!response.ok() || response->node() == 0 || !response->why().empty()) return;
  base::Log(base::LogLevel::kWarning,
            "admitted by a cluster that it is not to join any more: forget it there, unless it is "
            "the same",
            {{"cluster", response->cluster_id()}, {"node", response->node()}});
}

void RealFinder::On(Ordered& ordered) {
  absl::Status status = bootstrap_.LookAt(ordered.addresses);
  if (status.ok()) {
    ++order_;
    join_why_.clear();
    ask_at_.clear();
    base::Log(base::LogLevel::kInfo, "told which cluster to join",
              {{"addresses", absl::StrJoin(ordered.addresses, ",")}});
    if (!Save()) {
      status = absl::UnavailableError(
          absl::StrCat("it cannot be written yet (", disk_why_,
                       "): this node writes it, and joins, as soon as it can; until then a restart "
                       "forgets it, and another order replaces it"));
    }
  }
  ordered.done(status);
}

// On a thread of its own, which nobody waits for: a name server that is silent takes its time.
void RealFinder::ResolveIfDue(absl::Duration now) {
  if (options_.dns.empty() || resolving_ || handed_over_ || now < next_resolve_) return;
  resolving_ = true;
  next_resolve_ = now + options_.resolved_every;
  std::thread([inbox = inbox_, resolver = resolver_, name = options_.dns] {
    inbox->Post(Resolved{resolver->Resolve(name)});
  }).detach();
}

void RealFinder::On(Resolved& resolved) {
  resolving_ = false;
  if (!resolved.seeds.ok()) {
    dns_why_ = std::string(resolved.seeds.status().message());
    next_resolve_ = std::min(next_resolve_, clock_.Monotonic() + absl::Seconds(1));
    return;
  }
  dns_why_.clear();
  std::vector<std::string> seeds = options_.bootstrap.seeds;
  seeds.insert(seeds.end(), resolved.seeds->begin(), resolved.seeds->end());
  bootstrap_.SetSeeds(std::move(seeds));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Finder>> Finder::Start(FinderOptions options, Links& links,
                                                      std::shared_ptr<Resolver> resolver,
                                                      const base::Clock& clock, Found found) {
  ASSIGN_OR_RETURN(pb::NodeIdentity identity, ReadIdentity(options.directory));
  if (options.bootstrap.start == 0) options.bootstrap.start = base::Rng::FromEntropy()();
  if (!identity.cluster_id().empty()) {
    // Another life, which nobody may hear of before it is on the disk.
    identity.set_incarnation(identity.incarnation() + 1);
    RETURN_IF_ERROR(WriteIdentity(options.directory, identity));
  }
  return std::make_unique<RealFinder>(std::move(options), std::move(identity), links,
                                      std::move(resolver), clock, std::move(found));
}

}  // namespace cluster
