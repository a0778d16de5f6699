#include "embed/scram.h"

#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/by_name.h"

namespace mqttd {
namespace {

using mqtt::ReasonCode;

constexpr uint32_t kIterationsOfNobody = 4096;
constexpr size_t kSaltBytes = 16;

std::string Base64(std::string_view bytes) { return absl::Base64Escape(base::AbslView(bytes)); }

class ScramExchange final : public AuthExchange {
 public:
  ScramExchange(ScramLookup find, client::ScramKeys nobody)
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
    keys_ = known_ ? *std::move(keys) : nobody_;
    if (!known_) {
      // The same for a name each time, and not to be told from that of a user.
      keys_.salt = client::ScramServerSignature(nobody_, user_name_).substr(0, kSaltBytes);
    }
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
  const client::ScramKeys nobody_;
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

AuthMethod ScramSha256Method(ScramLookup find) {
  client::ScramKeys nobody =
      client::DeriveScramKeys(client::ScramNonce(), "nobody", kIterationsOfNobody);
  return [find = std::move(find), nobody = std::move(nobody)](const Login&) {
    return std::make_unique<ScramExchange>(find, nobody);
  };
}

}  // namespace mqttd
