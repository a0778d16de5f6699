#include "admin/api/access_store.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace admin {
namespace {

constexpr char kFile[] = "access";
// Lines that say nothing any more, in a file that is left alone.
constexpr uint64_t kSpareLines = 1000;
constexpr size_t kAtOnce = 1000;
// Of what other nodes have set, while it cannot be written. Above it the whole file is written
// anew.
constexpr size_t kUnkeptBytesMax = 4 << 20;

void Publish(const Kept& change, auth::RunTimeAccess& access) {
  if (change.has_set_ban() || change.has_remove_ban()) access.PublishBans();
}

// What is in force, as changes that would make it.
void ForEachKept(const auth::RunTimeAccess& access, const std::function<void(const Kept&)>& each) {
  std::optional<auth::BanTarget> after_ban;
  for (auto bans = access.ListBans(after_ban, kAtOnce); !bans.empty();
       bans = access.ListBans(after_ban, kAtOnce)) {
    for (const auth::Ban& ban : bans) each(AsChange(ban));
    after_ban = bans.back().target;
  }
  std::string after_user;
  for (auto users = access.ListUsers(after_user, kAtOnce); !users.empty();
       users = access.ListUsers(after_user, kAtOnce)) {
    for (const auth::RunTimeUser& user : users) each(AsChange(user));
    after_user = users.back().name;
  }
  std::optional<auth::RunTimeRule::Key> after_rule;
  for (auto rules = access.ListRules(after_rule, kAtOnce); !rules.empty();
       rules = access.ListRules(after_rule, kAtOnce)) {
    for (const auth::RunTimeRule& rule : rules) each(AsChange(rule));
    after_rule = rules.back().key();
  }
}

}  // namespace

absl::Status AccessStore::Load() {
  base::MutexLock file_lock(file_mutex_);
  base::MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(std::string text, files_.Read(kFile));
  const size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (whole != text.size()) {
    base::Log(base::LogLevel::kWarning, "the last change of access was not written whole",
              {{"file", files_.PathOf(kFile)}, {"bytes", text.size() - whole}});
    text.resize(whole);  // In the file, too, with the next change: a full disk ends no start.
  }
  RETURN_IF_ERROR(Replay(text));
  ForgetEndedBans();
  access_.PublishBans();
  return absl::OkStatus();
}

absl::Status AccessStore::Replay(absl::string_view text) {
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    ++lines_;
    const absl::StatusOr<Kept> change = FromLine(line);
    const absl::Status status = change.ok() ? Hold(*change) : change.status();
    if (!status.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          files_.PathOf(kFile), ":", lines_, ": ", status.message(),
          "; restore the file from a backup, or remove it and set users, rules and bans anew"));
    }
    revision_ = std::max(revision_, change->revision());
  }
  return absl::OkStatus();
}

// ---- What holds ---------------------------------------------------------------------------------

std::optional<Kept> AccessStore::Current(const ChangeKey& key) const {
  const auto of = [](const auto& entry) {
    return entry.has_value() ? std::optional<Kept>(AsChange(*entry)) : std::nullopt;
  };
  if (const auto it = rest_.find(key); it != rest_.end()) return it->second;
  switch (key.kind) {
    case ChangeKind::kBans:
      return of(access_.FindBan(key.ban));
    case ChangeKind::kUsers:
      return of(access_.UserNamed(key.user));
    case ChangeKind::kRules:
      return of(access_.FindRule(key.rule));
    case ChangeKind::kRest:
      break;
  }
  return std::nullopt;
}

absl::Status AccessStore::Hold(const Kept& change) {
  if (change.what_case() == Kept::WHAT_NOT_SET) return absl::OkStatus();  // Only a number.
  ASSIGN_OR_RETURN(const ChangeKey key, KeyOf(change));
  const std::optional<Kept> before = spreads_ ? Current(key) : std::nullopt;
  RETURN_IF_ERROR(ApplyChange(change, access_));
  rest_.erase(key);
  if (key.kind == ChangeKind::kRest || (spreads_ && Removes(change)))
    rest_[key] = WithoutRevision(change);
  if (!spreads_) return absl::OkStatus();
  if (before.has_value()) DigestFor(*before) -= DigestOf(*before);
  if (const std::optional<Kept> now = Current(key)) DigestFor(*now) += DigestOf(*now);
  if (rest_.size() > 2 * kRemovedMax) ForgetRemoved();
  return absl::OkStatus();
}

void AccessStore::ForgetRemoved() {
  std::vector<std::pair<int64_t, ChangeKey>> by_age;
  for (const auto& [key, change] : rest_) {
    if (Removes(change)) by_age.emplace_back(change.at_unix_ms(), key);
  }
  std::sort(by_age.begin(), by_age.end());
  for (size_t i = 0; i + kRemovedMax < by_age.size(); ++i) {
    const auto it = rest_.find(by_age[i].second);
    DigestFor(it->second) -= DigestOf(it->second);
    rest_.erase(it);
  }
}

void AccessStore::ForgetEndedBans() {
  access_.ForgetEndedBans(absl::ToUnixMillis(clock_.Now()));
  if (!spreads_) return;
  uint64_t& digest = digests_[static_cast<size_t>(ChangeKind::kBans)] = 0;
  ForEachKept(access_, [&digest](const Kept& change) {
    if (change.has_set_ban()) digest += DigestOf(change);
  });
}

absl::Status AccessStore::Prepare(const Caller& caller,
                                  const std::function<absl::Status(Kept&)>& make, Kept& change,
                                  ChangeKey& key, Lines& lines) {
  base::MutexLock lock(mutex_);
  RETURN_IF_ERROR(make(change));
  ASSIGN_OR_RETURN(key, KeyOf(change));
  int64_t at_unix_ms = absl::ToUnixMillis(clock_.Now());
  if (spreads_) {  // Later than what it changes, however late it was where that was made.
    if (const auto before = Current(key))
      at_unix_ms = std::max(at_unix_ms, before->at_unix_ms() + 1);
  }
  change.set_revision(++revision_);
  change.set_by(caller.name);
  change.set_at_unix_ms(at_unix_ms);
  // Nothing is written that a start could not read.
  ASSIGN_OR_RETURN(const Kept as_read, FromLine(ToLine(change)));
  auth::RunTimeAccess nobodys;
  RETURN_IF_ERROR(ApplyChange(as_read, nobodys));
  // Behind what it changes.
  lines = Unkept();
  being_made_.emplace(key, change);
  return absl::OkStatus();
}

absl::StatusOr<Kept> AccessStore::Change(const Caller& caller,
                                         const std::function<absl::Status(Kept&)>& make) {
  base::MutexLock file_lock(file_mutex_);
  Kept change;
  ChangeKey key;
  Lines lines;
  RETURN_IF_ERROR(Prepare(caller, make, change, key, lines));
  const absl::Status written = Append(lines, ToLine(change));
  {
    base::MutexLock lock(mutex_);
    being_made_.reset();
    if (!written.ok()) return written;
    const std::optional<Kept> now = spreads_ ? Current(key) : std::nullopt;
    if (!now.has_value() || IsLater(change, *now)) {
      if (absl::Status held = Hold(change); !held.ok()) {
        write_anew_ = true;  // Without it.
        return held;
      }
      Publish(change, access_);
    }
  }
  Compact();
  return change;
}

std::vector<Kept> AccessStore::Take(const google::protobuf::RepeatedPtrField<Kept>& changes) {
  base::MutexLock lock(mutex_);
  std::vector<Kept> news;
  bool bans = false;
  for (const Kept& change : changes) {
    const auto key = KeyOf(change);
    absl::Status taken = key.status();
    if (key.ok()) {
      const std::optional<Kept> known = Current(*key);
      if (known.has_value() && !IsLater(change, *known)) continue;
      // If that cannot be written, nodes compare what they have and this one is fetched.
      if (being_made_.has_value() && !(being_made_->first < *key) && !(*key < being_made_->first) &&
          !IsLater(change, being_made_->second))
        continue;
      taken = Hold(change);
    }
    if (!taken.ok()) {
      base::LogLimited(base::LogLevel::kWarning, "another node's change of access not understood",
                       "access", {{"error", taken}});
      continue;
    }
    Kept numbered = change;
    numbered.set_revision(++revision_);
    unkept_.text += ToLine(numbered);
    ++unkept_.count;
    ++unkept_.taken;
    bans = bans || change.has_set_ban() || change.has_remove_ban();
    news.push_back(std::move(numbered));
  }
  if (bans) access_.PublishBans();
  BoundUnkept();
  return news;
}

// ---- For other nodes ----------------------------------------------------------------------------

std::array<uint64_t, kChangeKinds> AccessStore::digests() const {
  base::MutexLock lock(mutex_);
  return digests_;
}

absl::StatusOr<std::vector<Kept>> AccessStore::List(ChangeKind kind,
                                                    const std::optional<Kept>& after,
                                                    size_t count) const {
  base::MutexLock lock(mutex_);
  std::optional<ChangeKey> behind;
  if (after.has_value()) {
    ASSIGN_OR_RETURN(behind, KeyOf(*after));
  }
  std::vector<Kept> changes;
  const auto add = [&changes](const auto& entries) {
    for (const auto& entry : entries) changes.push_back(AsChange(entry));
  };
  switch (kind) {
    case ChangeKind::kBans:
      add(access_.ListBans(behind ? std::optional(behind->ban) : std::nullopt, count));
      break;
    case ChangeKind::kUsers:
      add(access_.ListUsers(behind ? behind->user : std::string(), count));
      break;
    case ChangeKind::kRules:
      add(access_.ListRules(behind ? std::optional(behind->rule) : std::nullopt, count));
      break;
    case ChangeKind::kRest:
      for (auto it = behind ? rest_.upper_bound(*behind) : rest_.begin();
           it != rest_.end() && changes.size() < count; ++it)
        changes.push_back(it->second);
      break;
  }
  return changes;
}

// ---- The file -----------------------------------------------------------------------------------

bool AccessStore::unkept() const {
  base::MutexLock lock(mutex_);
  return unkept_.taken != kept_ || write_anew_;
}

absl::Status AccessStore::Keep() {
  base::MutexLock file_lock(file_mutex_);
  RETURN_IF_ERROR(KeepTaken());
  Compact();
  return absl::OkStatus();
}

absl::Status AccessStore::KeepTaken() {
  Lines lines;
  bool anew = false;
  {
    base::MutexLock lock(mutex_);
    anew = write_anew_;
    if (!anew) lines = Unkept();
  }
  if (anew) return WriteAnew();
  return lines.text.empty() ? absl::OkStatus() : Append(lines, "");
}

AccessStore::Lines AccessStore::Unkept() {
  const Lines lines = unkept_;
  unkept_.text.clear();
  unkept_.count = 0;
  return lines;
}

absl::Status AccessStore::Append(const Lines& lines, const std::string& change) {
  const absl::Status written = files_.Append(kFile, lines.text + change);
  base::MutexLock lock(mutex_);
  if (written.ok()) {
    lines_ += lines.count + (change.empty() ? 0 : 1);
    if (!write_anew_) kept_ = lines.taken;
  } else {
    unkept_.text.insert(0, lines.text);
    unkept_.count += lines.count;
    BoundUnkept();
  }
  return written;
}

void AccessStore::BoundUnkept() {
  if (unkept_.text.size() <= kUnkeptBytesMax) return;
  unkept_.text.clear();
  unkept_.count = 0;
  write_anew_ = true;
}

absl::Status AccessStore::WriteAnew() {
  Kept number;
  std::string text;
  uint64_t lines = 1;
  Lines with_it;
  bool anew = false;
  {
    base::MutexLock lock(mutex_);
    ForgetEndedBans();
    number.set_revision(revision_);
    text = ToLine(number);
    const auto add = [&](const Kept& change) {
      ++lines;
      text += ToLine(change);
    };
    ForEachKept(access_, add);
    for (const auto& [key, change] : rest_) add(change);
    with_it = unkept_;
    anew = std::exchange(write_anew_, false);
  }
  const absl::Status written = files_.Write(kFile, text);
  base::MutexLock lock(mutex_);
  if (!written.ok()) {
    write_anew_ = write_anew_ || anew;
    return written;
  }
  lines_ = lines;
  kept_ = with_it.taken;
  if (!write_anew_) {  // Else all of it is written once more.
    unkept_.text.erase(0, with_it.text.size());
    unkept_.count -= with_it.count;
  }
  return written;
}

// A failure is no failure of the change: the old file is as good.
void AccessStore::Compact() {
  {
    base::MutexLock lock(mutex_);
    if (lines_ < 2 * (access_.entries() + rest_.size()) + kSpareLines) return;
  }
  if (const absl::Status status = WriteAnew(); !status.ok()) {
    base::Log(base::LogLevel::kWarning, "the file of access changes grows",
              {{"file", files_.PathOf(kFile)}, {"error", status}});
  }
}

}  // namespace admin
