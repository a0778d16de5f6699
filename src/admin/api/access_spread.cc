#include "admin/api/access_spread.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "admin/api/client_pages.h"
#include "auth/core/bans.h"
#include "base/log.h"

namespace admin {
namespace {

namespace spread = ::mqttd::access::v1;

constexpr char kService[] = "mqttd.access.v1.Spread";
constexpr char kApply[] = "/mqttd.access.v1.Spread/Apply";
constexpr char kCompare[] = "/mqttd.access.v1.Spread/Compare";
constexpr char kList[] = "/mqttd.access.v1.Spread/List";

constexpr size_t kAtOnce = 1000;
// Nodes compare what they have when a link between them is new, and so often while it stands.
constexpr absl::Duration kCompareEvery = absl::Seconds(10);

// A connection that the bans concern.
std::function<bool(const broker::Connection&)> IsBannedBy(std::vector<auth::Ban> bans) {
  const bool address = std::any_of(bans.begin(), bans.end(), [](const auth::Ban& ban) {
    return ban.target.kind == auth::BanKind::kAddress;
  });
  const auto table = *auth::BanTable::Make(std::move(bans));
  return [table, address](const broker::Connection& connection) {
    const broker::Session& session = *connection.session;
    return table->Find(session.client_id.view(), session.user_name(),
                       address ? connection.stream->peer().address : std::string(), 0) != nullptr;
  };
}

// Whose sessions are looked at again for these changes; nothing: nobody's.
std::optional<broker::ClientQuery> Concerned(const std::vector<Kept>& changes) {
  std::set<std::string> users;
  bool any = false;
  bool everybody = false;
  const auto add = [&](const mqttd::access::v1::Rule& rule) {
    any = true;
    if (rule.everyone()) {
      everybody = true;
    } else {
      users.insert(rule.user_name());  // "" are those who are nobody.
    }
  };
  for (const Kept& change : changes) {
    if (change.has_add_rule()) add(change.add_rule());
    if (change.has_remove_rule()) add(change.remove_rule());
    if (change.what_case() == Kept::kDenyByDefault) any = everybody = true;
    if (change.has_remove_user()) {
      any = true;
      users.insert(change.remove_user());
    }
  }
  if (!any) return std::nullopt;
  broker::ClientQuery query;
  if (everybody) return query;
  query.who = [users](const broker::Connection& connection) {
    return users.contains(std::string(connection.session->user_name()));
  };
  return query;
}

// Of a change that another node has made: it is enforced while it is written.
class Applying {
 public:
  explicit Applying(Reply<spread::ApplyChangesResponse> reply) : reply_(std::move(reply)) {}

  void Enforced(const absl::StatusOr<uint64_t>& disconnected) {
    base::MutexLock lock(mutex_);
    enforced_ = disconnected;
    Answer();
  }
  void Written(const absl::Status& written) {
    base::MutexLock lock(mutex_);
    written_ = written;
    Answer();
  }

 private:
  void Answer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!enforced_.has_value() || !written_.has_value()) return;
    if (!enforced_->ok()) return reply_(enforced_->status());
    if (!written_->ok()) {
      return reply_(absl::Status(
          written_->code(),
          absl::StrCat("it holds there, and is not stored yet: ", written_->message())));
    }
    spread::ApplyChangesResponse response;
    response.set_disconnected(**enforced_);
    reply_(std::move(response));
  }

  base::Mutex mutex_;
  const Reply<spread::ApplyChangesResponse> reply_;
  std::optional<absl::StatusOr<uint64_t>> enforced_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> written_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

// ---- One node -----------------------------------------------------------------------------------

void AccessSpread::Enforce(const std::vector<Kept>& changes, Users users,
                           std::function<void(absl::StatusOr<uint64_t>)> done) const {
  std::vector<auth::Ban> bans;
  std::set<std::string> passwords;
  for (const Kept& change : changes) {
    if (change.has_set_ban()) {
      const auto key = KeyOf(change);
      if (key.ok()) bans.push_back({.target = key->ban});
    }
    if (change.has_set_user() && users == Users::kDisconnect)
      passwords.insert(change.set_user().name());
  }
  using Next = std::function<void(absl::StatusOr<uint64_t>)>;
  const auto refresh = [this, query = Concerned(changes), done](absl::StatusOr<uint64_t> so_far) {
    if (!so_far.ok() || !query.has_value()) return done(std::move(so_far));
    RefreshClients(broker_, *query, [done, before = *so_far](absl::StatusOr<uint64_t> sent_away) {
      if (sent_away.ok()) *sent_away += before;
      done(std::move(sent_away));
    });
  };
  const auto kick = [this](broker::ClientQuery query, const broker::KickOrder& order,
                           uint64_t before, const Next& next) {
    KickClients(broker_, std::move(query), order, [before, next](absl::StatusOr<uint64_t> kicked) {
      if (kicked.ok()) *kicked += before;
      next(std::move(kicked));
    });
  };
  const Next disconnect = [kick, passwords, refresh](absl::StatusOr<uint64_t> so_far) {
    if (!so_far.ok() || passwords.empty()) return refresh(std::move(so_far));
    broker::ClientQuery query;
    query.who = [passwords](const broker::Connection& connection) {
      return passwords.contains(std::string(connection.session->user_name()));
    };
    kick(std::move(query), {}, *so_far, refresh);
  };
  if (bans.empty()) return disconnect(0);
  broker::ClientQuery query;
  query.who = IsBannedBy(std::move(bans));
  kick(std::move(query), {}, 0, disconnect);
}

void AccessSpread::AddTo(Methods& here) {
  here.Add<spread::ApplyChangesRequest, spread::ApplyChangesResponse>(
      kService, "Apply",
      [this](const Caller& caller, const spread::ApplyChangesRequest& request, auto reply) {
        if (absl::Status status = broker_.CheckOpen(); !status.ok()) return reply(status);
        const std::vector<Kept> news = store_.Take(request.changes());
        if (!news.empty()) {
          base::Log(base::LogLevel::kInfo, "access changed by another node",
                    {{"who", caller.name}, {"from", caller.address}, {"changes", news.size()}});
        }
        const auto both = std::make_shared<Applying>(std::move(reply));
        Enforce(
            {request.changes().begin(), request.changes().end()},
            request.disconnect() ? Users::kDisconnect : Users::kStay,
            [both](const absl::StatusOr<uint64_t>& disconnected) { both->Enforced(disconnected); });
        if (!store_.unkept()) return both->Written(absl::OkStatus());
        keeper_.Run([this, both] { both->Written(store_.Keep()); });
      });
  here.Add<spread::CompareChangesRequest, spread::CompareChangesResponse>(
      kService, "Compare", [this](const Caller&, const spread::CompareChangesRequest&, auto reply) {
        spread::CompareChangesResponse response;
        for (const uint64_t digest : store_.digests()) response.add_digests(digest);
        reply(std::move(response));
      });
  here.Add<spread::ListChangesRequest, spread::ListChangesResponse>(
      kService, "List",
      [this](const Caller&, const spread::ListChangesRequest& request, auto reply) {
        if (request.kind() >= kChangeKinds) return reply(absl::InvalidArgumentError("kind"));
        const auto changes = store_.List(
            static_cast<ChangeKind>(request.kind()),
            request.has_after() ? std::optional(request.after()) : std::nullopt, kAtOnce);
        if (!changes.ok()) return reply(changes.status());
        spread::ListChangesResponse response;
        for (const Kept& change : *changes) *response.add_changes() = change;
        response.set_end(changes->size() < kAtOnce);
        reply(std::move(response));
      });
}

// ---- All nodes ----------------------------------------------------------------------------------

void AccessSpread::Everywhere(const Caller& caller, const Kept& change, Users users,
                              std::function<void(absl::StatusOr<Done>)> done) const {
  if (!fleet_.View().has_value()) {
    return Enforce({change}, users, [done = std::move(done)](const auto& disconnected) {
      if (!disconnected.ok()) return done(disconnected.status());
      done(Done{.disconnected = *disconnected, .missing = {}});
    });
  }
  spread::ApplyChangesRequest request;
  *request.add_changes() = WithoutRevision(change);
  request.set_disconnect(users == Users::kDisconnect);
  fleet_.Gather<spread::ApplyChangesResponse>(
      {.caller = caller, .method = kApply, .within = kNodeLongPatience}, request,
      [done = std::move(done)](auto gathered) {
        if (!gathered.ok()) return done(gathered.status());
        Done all{.disconnected = gathered->here.disconnected(),
                 .missing = std::move(gathered->missing)};
        for (const spread::ApplyChangesResponse& other : gathered->others)
          all.disconnected += other.disconnected();
        done(std::move(all));
      });
}

// ---- What this node lacks -----------------------------------------------------------------------

// Fetches what another node has of the kinds of which it has something else, a page at a time.
class AccessSpread::Fetching : public std::enable_shared_from_this<Fetching> {
 public:
  Fetching(AccessSpread& spread, uint32_t node, std::vector<uint32_t> kinds)
      : spread_(spread), node_(node), kinds_(std::move(kinds)) {}

  void Next() {
    if (kinds_.empty()) {
      if (taken_ != 0) {
        base::Log(base::LogLevel::kInfo, "access changes fetched from another node",
                  {{"node", node_}, {"changes", taken_}});
      }
      return spread_.Ended(node_, true);
    }
    request_.set_kind(kinds_.back());
    spread_.fleet_.Ask<spread::ListChangesResponse>(
        node_, {.caller = {.name = "mqttd"}, .method = kList}, request_,
        [self = shared_from_this()](const auto& said) { self->Take(said); });
  }

 private:
  void Take(const absl::StatusOr<Fleet::Said<spread::ListChangesResponse>>& said) {
    if (!said.ok() || !said->status.ok()) return spread_.Ended(node_, false);
    const spread::ListChangesResponse& page = said->response;
    const std::vector<Kept> news = spread_.store_.Take(page.changes());
    taken_ += news.size();
    if (page.end() || page.changes().empty()) {
      kinds_.pop_back();
      request_.clear_after();
    } else {
      *request_.mutable_after() = page.changes(page.changes_size() - 1);
    }
    if (news.empty()) return Next();
    spread_.KeepSoon();
    spread_.Enforce(news, Users::kStay, [self = shared_from_this()](const auto&) { self->Next(); });
  }

  AccessSpread& spread_;
  const uint32_t node_;
  std::vector<uint32_t> kinds_;
  spread::ListChangesRequest request_;
  size_t taken_ = 0;
};

void AccessSpread::KeepSoon() {
  if (keeping_.exchange(true)) return;
  keeper_.Run([this] {
    keeping_ = false;
    if (const absl::Status kept = store_.Keep(); !kept.ok()) {
      base::LogLimited(base::LogLevel::kError, "access changes of another node not kept", "disk",
                       {{"error", kept}});
    }
  });
}

void AccessSpread::Tick() {
  if (store_.unkept()) KeepSoon();
  const auto view = fleet_.View();
  if (!view.has_value() || !broker_.open()) return;
  const absl::Duration now = broker_.sources().clock->Monotonic();
  std::vector<uint32_t> due;
  {
    base::MutexLock lock(mutex_);
    for (const base::ClusterView::Link& link : view->links) {
      if (!link.up) continue;
      const auto [it, first] = compared_.try_emplace(link.node);
      Compared& known = it->second;
      if (known.busy) continue;
      if (!first && known.link == link.connected && now < known.at + kCompareEvery) continue;
      known = {.at = now, .link = link.connected, .busy = true};
      due.push_back(link.node);
    }
  }
  for (const uint32_t node : due) Compare(node);
}

void AccessSpread::Compare(uint32_t node) {
  fleet_.Ask<spread::CompareChangesResponse>(
      node, {.caller = {.name = "mqttd"}, .method = kCompare}, spread::CompareChangesRequest(),
      [this, node](const auto& said) {
        if (!said.ok() || !said->status.ok()) return Ended(node, false);
        const auto mine = store_.digests();
        std::vector<uint32_t> kinds;
        for (uint32_t kind = 0; kind < kChangeKinds; ++kind) {
          const bool same = kind < static_cast<uint32_t>(said->response.digests_size()) &&
                            said->response.digests(static_cast<int>(kind)) == mine[kind];
          if (!same) kinds.push_back(kind);
        }
        std::make_shared<Fetching>(*this, node, std::move(kinds))->Next();
      });
}

// What could not be compared is tried again with the next Tick.
void AccessSpread::Ended(uint32_t node, bool compared) {
  base::MutexLock lock(mutex_);
  if (compared) {
    compared_[node].busy = false;
  } else {
    compared_.erase(node);
  }
}

}  // namespace admin
