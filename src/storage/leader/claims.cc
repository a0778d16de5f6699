// Who owns a Client Identifier: asked for, taken over, waited for, let go.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "base/by_name.h"
#include "base/check.h"
#include "base/log.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"
#include "storage/leader/sessions.h"

namespace storage {
namespace {

absl::Status WordsFor(OpenRefusal refusal) {
  switch (refusal) {
    case OpenRefusal::kNewWhileMemoryIsShort:
      return absl::UnavailableError("memory is short: only clients with a session are let in");
    case OpenRefusal::kSessionsMax:
      return absl::ResourceExhaustedError("storage.sessions_max is reached");
    case OpenRefusal::kUserSessionsMax:
      return absl::ResourceExhaustedError("user_sessions_max is reached");
    default:
      return absl::OkStatus();
  }
}

}  // namespace

// ---- Asking for it ------------------------------------------------------------------------------

Claim* Sessions::FindClaim(std::string_view client_id) {
  const auto it = claims_.find(client_id);
  return it == claims_.end() ? nullptr : it->get();
}

const Claim* Sessions::ClaimOf(std::string_view client_id) const {
  const auto it = claims_.find(client_id);
  return it == claims_.end() ? nullptr : it->get();
}

uint64_t Sessions::SentThrough(const Session& session) const {
  const Claim* const claim = ClaimOf(session.client_id);
  const bool sends = claim != nullptr && claim->feed != nullptr && claim->stored &&
                     claim->state == Claim::State::kOpen;
  const uint64_t before = session.queue.sent_through();
  return sends ? std::max(before, claim->feed->window.next() - 1) : before;
}

Claim* Sessions::OwnerOf(std::string_view client_id, uint64_t epoch) {
  Claim* const claim = FindClaim(client_id);
  const bool owns = claim != nullptr && claim->state == Claim::State::kOpen && claim->stored &&
                    claim->epoch == epoch;
  return owns ? claim : nullptr;
}

void Sessions::Handle(const Asker& /*from*/, OpenSession& request) {
  Claim* const claim = FindClaim(request.client_id);
  if (claim != nullptr && AnswerRepeat(*claim, request)) return;
  const Session* const stored = partition().Find(request.client_id);
  if (BelongsToAnother(request, claim, stored)) return RefuseOtherUser(request);
  const bool exists = stored != nullptr;
  // What the log has beyond the entry at which a replica has stopped may be a session too.
  const bool logged = request.expiry_s > 0 || request.will || exists || replica_.stopped() ||
                      (claim != nullptr && (claim->stored || claim->state != Claim::State::kOpen));
  if (logged) {
    const absl::Status refusal = Refusal(/*stores=*/!exists);
    if (!refusal.ok()) return RefuseOpen(request, OpenRefusal::kStorage, refusal);
  }
  if (claim == nullptr && !exists && !leader_.knows_all()) {
    return AwaitAllClaims(std::move(request));
  }
  if (claim != nullptr && unknown_.contains(request.client_id)) {
    return Await(*claim, std::move(request));
  }
  if (claim != nullptr) {
    request.only_known = false;  // It is known: its connection is here.
    return Evict(*claim, std::move(request));
  }
  Grant(std::move(request));
}

// A session belongs to the user who opened it: nobody else resumes, ends or takes it over, also not
// with Clean Start. One that an anonymous client opened is nobody's, and the next one's who comes.
bool Sessions::BelongsToAnother(const OpenSession& request, const Claim* claim,
                                const Session* stored) const {
  if (request.of_any_user) return false;
  if (claim != nullptr) {
    if (claim->waited_for() && !claim->opening->waiting.back().user_name.empty() &&
        claim->opening->waiting.back().user_name != request.user_name) {
      return true;
    }
    // While it is being ended what it is then decides: Grant asks again.
    if (claim->state == Claim::State::kBusy) return false;
    if (claim->owner != 0 && claim->owner != OwnerHash(request.user_name)) return true;
  }
  if (stored == nullptr || stored->user_name.empty()) return false;
  const bool has_ended =
      !stored->connected && stored->ends_at_unix_ms != 0 && stored->ends_at_unix_ms <= Now();
  return !has_ended && stored->user_name != request.user_name;
}

uint32_t Sessions::OwnerHash(std::string_view user_name) const {
  if (user_name.empty()) return 0;
  return static_cast<uint32_t>(absl::HashOf(node_.owner_key, base::AbslView(user_name))) | 1;
}

void Sessions::RefuseOtherUser(const OpenSession& request) {
  RefuseOpen(request, OpenRefusal::kOtherUser,
             absl::PermissionDeniedError("the Client Identifier belongs to another user"));
}

// ---- Somebody has it ----------------------------------------------------------------------------

// The newest claim waits until the owner has let go; an older one that waited is told at once.
// Somebody has the identifier, or is about to.
void Sessions::Evict(Claim& claim, OpenSession request) {
  const IdentifierFights::Report report =
      node_.fights.OnTakeover(claim.client_id.view(), node_.now.monotonic);
  if (report.takeovers > 0) {
    base::Log(base::LogLevel::kWarning,
              "several clients connect with the same Client Identifier: each disconnects the other",
              {{"client", base::Shortened(request.client_id)},
               {"user", base::Shortened(request.user_name)},
               {"takeovers", report.takeovers},
               {"pause_ms", absl::ToInt64Milliseconds(
                                node_.fights.PauseOf(request.client_id, node_.now.monotonic))},
               {"others_not_named", report.left_out}});
  }
  Await(claim, std::move(request));
}

// Waits until all before it have let go. Who has it is told to; who is about to get it gets it
// first. Each is answered, but for the oldest if too many wait: that one is refused.
void Sessions::Await(Claim& claim, OpenSession request) {
  constexpr size_t kWaitingMax = 4;
  Claim::Opening& opening = claim.opening_state();
  if (opening.waiting.empty() && claim.state == Claim::State::kOpen) {
    node_.Send(claim.connection.address(),
               TakenOver{claim.connection, std::string(claim.client_id), claim.epoch});
  }
  if (opening.waiting.size() == kWaitingMax) {
    RefuseOpen(opening.waiting.front(), OpenRefusal::kIdentifierFight,
               absl::AbortedError("too many others connect with the same Client Identifier"));
    opening.waiting.erase(opening.waiting.begin());
  }
  opening.waiting.push_back(std::move(request));
}

// True: the connection was one of those that wait, and is not any more.
bool Sessions::StopAwaiting(Claim& claim, const ConnectionRef& connection) {
  if (!claim.waited_for()) return false;
  return std::erase_if(claim.opening->waiting, [&](const OpenSession& request) {
           return request.connection == connection;
         }) > 0;
}

// ---- Nobody has it ------------------------------------------------------------------------------

// Nobody has the identifier.
void Sessions::Grant(OpenSession request) {
  const Session* const stored = partition().Find(request.client_id);
  if (BelongsToAnother(request, nullptr, stored)) return RefuseOtherUser(request);
  if (stored == nullptr && request.expiry_s == 0 && !request.will) {
    return GrantUnlogged(request);
  }
  const absl::Status refusal = Refusal(/*stores=*/stored == nullptr);
  if (!refusal.ok()) return RefuseOpen(request, OpenRefusal::kStorage, refusal);
  const OpenRefusal no_room = MakeRoomFor(request, stored);
  if (no_room != OpenRefusal::kNone) return RefuseOpen(request, no_room, WordsFor(no_room));
  ProposeOpen(request, stored);
}

void Sessions::GrantUnlogged(const OpenSession& request) {
  auto claim = std::make_unique<Claim>(request.client_id, Claim::State::kOpen);
  claim->connection = request.connection;
  claim->owner = OwnerHash(request.user_name);
  // Above all epochs of records, so that one never passes for the other.
  claim->epoch = uint64_t{1} << 63 | leader_.life() << 40 | ++last_unlogged_epoch_;
  SessionOpened opened;
  opened.token = request.token;
  opened.epoch = claim->epoch;
  claims_.insert(std::move(claim));
  node_.Send(request.connection.address(), std::move(opened));
}

void Sessions::RefuseOpen(const OpenSession& request, OpenRefusal refusal,
                          const absl::Status& status) {
  SessionOpened refused;
  refused.token = request.token;
  refused.refusal = refusal;
  refused.status = status;
  node_.Send(request.connection.address(), std::move(refused));
}

void Sessions::Occupy(std::string_view client_id) {
  claims_.insert(std::make_unique<Claim>(client_id, Claim::State::kBusy));
}

// ---- Letting go ---------------------------------------------------------------------------------

void Sessions::Forget(const std::string& client_id) {
  Claim* const claim = FindClaim(client_id);
  CHECK(claim != nullptr) << "a claim is forgotten once";
  const absl::Duration pause = claim->waited_for()
                                   ? node_.fights.PauseOf(client_id, node_.now.monotonic)
                                   : absl::ZeroDuration();
  if (pause <= absl::ZeroDuration()) return PassOn(client_id);
  claim->state = Claim::State::kBusy;
  claim->connection = {};
  node_.metrics.takeovers_held.Add();
  held_.emplace(node_.now.monotonic + pause, client_id);
}

std::optional<absl::Duration> Sessions::NextHeld() const {
  if (held_.empty()) return std::nullopt;
  return held_.begin()->first;
}

// The first of those that wait gets it; the others wait for that one.
void Sessions::PassOn(const std::string& client_id) {
  const auto it = claims_.find(std::string_view(client_id));
  std::vector<OpenSession> waiting;
  if ((*it)->waited_for()) waiting = std::move((*it)->opening->waiting);
  claims_.erase(it);
  for (OpenSession& request : waiting) {
    if (Claim* const claim = FindClaim(client_id)) {
      Await(*claim, std::move(request));
    } else {
      Grant(std::move(request));
    }
  }
}

void Sessions::PassOnHeld() {
  while (!held_.empty() && held_.begin()->first <= node_.now.monotonic) {
    const std::string client_id = std::move(held_.begin()->second);
    held_.erase(held_.begin());
    PassOn(client_id);
    if (FindClaim(client_id) != nullptr) continue;
    // They have all gone. A deadline that was due meanwhile has been passed over, and so may the
    // session have been when another was to give way.
    const Session* const session = partition().Find(client_id);
    if (session == nullptr || session->connected) continue;
    leader_.timers().ArmDeadlines(*session);
    NoteAway(*session);
  }
}

}  // namespace storage
