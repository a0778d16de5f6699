#include "embed/scram.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/by_name.h"

namespace mqttd {
namespace {

using mqtt::ReasonCode;

// While no user has been found, as RFC 7677 has it.
constexpr uint32_t kIterationsMin = 4096;
constexpr size_t kSaltBytes = 16;
constexpr size_t kSaltBytesMax = 32;

std::string Base64(std::string_view bytes) { return absl::Base64Escape(base::AbslView(bytes)); }

// The keys of names that are no user's. Any thread.
class Nobody {
 public:
  explicit Nobody(const ScramOfNobody& as)
      : keys_(client::DeriveScramKeys(as.secret.empty() ? client::ScramNonce() : as.secret,
                                      "nobody", kIterationsMin)),
        iterations_(as.iterations),
        salt_bytes_(std::min(as.salt_bytes, kSaltBytesMax)) {}

  void LookLike(const client::ScramKeys& user) {
    uint32_t iterations = 0;
    iterations_.compare_exchange_strong(iterations, user.iterations, std::memory_order_relaxed);
    size_t bytes = 0;
    salt_bytes_.compare_exchange_strong(bytes, std::min(user.salt.size(), kSaltBytesMax),
                                        std::memory_order_relaxed);
  }
  // The same for a name each time.
  client::ScramKeys KeysOf(std::string_view user_name) const {
    client::ScramKeys keys = keys_;
    const uint32_t iterations = iterations_.load(std::memory_order_relaxed);
    const size_t salt_bytes = salt_bytes_.load(std::memory_order_relaxed);
    keys.iterations = iterations == 0 ? kIterationsMin : iterations;
    keys.salt = client::ScramServerSignature(keys_, user_name)
                    .substr(0, salt_bytes == 0 ? kSaltBytes : salt_bytes);
    return keys;
  }

 private:
  const client::ScramKeys keys_;
  std::atomic<uint32_t> iterations_;  // 0: no user has been found.
  std::atomic<size_t> salt_bytes_;
};

class ScramExchange final : public AuthExchange {
 public:
  ScramExchange(ScramLookup find, std::shared_ptr<Nobody> nobody)
      : find_(std::move(find)), nobody_(std::move(nobody)) {}

  Step Next(std::string_view data) override {
    switch (state_) {
      case State::kNew:
        return OnFirst(data);
      case State::kAsked:
        return OnProof(data);
      case State::kOver:
        break;
    }
    return Refuse();
  }

 private:
  enum class State : uint8_t { kNew, kAsked, kOver };

  Step Refuse(ReasonCode reason = ReasonCode::kNotAuthorized) {
    state_ = State::kOver;
    return {.kind = Step::Kind::kRefuse, .reason = reason};
  }

  // "n,,n=user,r=nonce"
  Step OnFirst(std::string_view data) {
    if (!data.starts_with("n,,") && !data.starts_with("y,,")) return Refuse();
    header_ = data.substr(0, 3);
    first_ = data.substr(3);
    if (!first_.starts_with("n=")) return Refuse();  // Not an extension that must be understood.
    const std::string_view nonce = client::ScramPart(first_, 'r');
    if (nonce.empty()) return Refuse();
    user_name_ = absl::StrReplaceAll(base::AbslView(client::ScramPart(first_, 'n')),
                                     {{"=2C", ","}, {"=3D", "="}});
    if (user_name_.empty()) return Refuse();
    std::optional<client::ScramKeys> keys = find_(user_name_);
    known_ = keys.has_value();
    if (known_) nobody_->LookLike(*keys);
    keys_ = known_ ? *std::move(keys) : nobody_->KeysOf(user_name_);
    nonce_ = absl::StrCat(base::AbslView(nonce), client::ScramNonce());
    asked_ = absl::StrCat("r=", nonce_, ",s=", Base64(keys_.salt), ",i=", keys_.iterations);
    state_ = State::kAsked;
    return {.kind = Step::Kind::kContinue, .data = asked_};
  }

  // "c=biws,r=nonces,p=proof"
  Step OnProof(std::string_view data) {
    const size_t end = data.rfind(",p=");
    if (end == std::string_view::npos) return Refuse();
    const std::string_view bare = data.substr(0, end);
    std::string proof;
    if (client::ScramPart(bare, 'c') != Base64(header_) || client::ScramPart(bare, 'r') != nonce_ ||
        !absl::Base64Unescape(base::AbslView(data.substr(end + 3)), &proof)) {
      return Refuse();
    }
    const std::string all = absl::StrCat(first_, ",", asked_, ",", base::AbslView(bare));
    const bool right = client::ScramProofIsRight(keys_, all, proof);
    if (!right || !known_) return Refuse(ReasonCode::kBadUserNameOrPassword);
    state_ = State::kOver;
    return {.kind = Step::Kind::kAllow,
            .data = absl::StrCat("v=", Base64(client::ScramServerSignature(keys_, all))),
            .user_name = user_name_};
  }

  const ScramLookup find_;
  const std::shared_ptr<Nobody> nobody_;
  State state_ = State::kNew;
  std::string header_;
  std::string first_;
  std::string user_name_;
  std::string nonce_;
  std::string asked_;
  bool known_ = false;
  client::ScramKeys keys_;
};

}  // namespace

AuthMethod ScramSha256Method(ScramLookup find, ScramOfNobody nobody) {
  return [find = std::move(find), keys = std::make_shared<Nobody>(nobody)](const Login&) {
    return std::make_unique<ScramExchange>(find, keys);
  };
}

}  // namespace mqttd
