#include "admin/api/bans_service.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "admin/api/client_pages.h"
#include "admin/api/convert.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/bans.pb.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Bans";
constexpr size_t kBansMax = 10'000;
constexpr size_t kReasonBytesMax = 256;

pb::Ban ToProto(const auth::Ban& ban) {
  pb::Ban proto;
  switch (ban.target.kind) {
    case auth::BanKind::kClient:
      proto.set_client_id(ban.target.value);
      break;
    case auth::BanKind::kUser:
      proto.set_user_name(ban.target.value);
      break;
    case auth::BanKind::kAddress:
      proto.set_address(ban.target.value);
      break;
  }
  if (ban.ends_at_unix_ms != 0)
    *proto.mutable_ends() = ToTimestamp(absl::FromUnixMillis(ban.ends_at_unix_ms));
  proto.set_reason(ban.reason);
  proto.set_by(ban.by);
  *proto.mutable_set() = ToTimestamp(absl::FromUnixMillis(ban.set_at_unix_ms));
  return proto;
}

absl::StatusOr<auth::BanTarget> ToTarget(const pb::Ban& proto) {
  auth::BanTarget target;
  switch (proto.who_case()) {
    case pb::Ban::kClientId:
      target.value = proto.client_id();
      break;
    case pb::Ban::kUserName:
      target = {auth::BanKind::kUser, proto.user_name()};
      break;
    case pb::Ban::kAddress: {
      ASSIGN_OR_RETURN(const auth::AddressRange range, auth::AddressRange::Parse(proto.address()));
      target = {auth::BanKind::kAddress, range.ToString()};
      break;
    }
    case pb::Ban::WHO_NOT_SET:
      break;
  }
  if (target.value.empty())
    return absl::InvalidArgumentError("whom? client_id, user_name or address");
  return target;
}

// By prefix of its kind, so that a token is one string.
std::string ToToken(const auth::BanTarget& target) {
  return absl::StrCat(static_cast<int>(target.kind), ":", target.value);
}

absl::StatusOr<std::optional<auth::BanTarget>> FromToken(const std::string& token) {
  if (token.empty()) return std::optional<auth::BanTarget>();
  if (token.size() < 2 || token[0] < '0' || token[0] > '2' || token[1] != ':')
    return absl::InvalidArgumentError("page.token: not one that a page before gave");
  return auth::BanTarget{static_cast<auth::BanKind>(token[0] - '0'), token.substr(2)};
}

absl::StatusOr<pb::ListBansResponse> List(const AccessParts& parts,
                                          const pb::ListBansRequest& request) {
  ASSIGN_OR_RETURN(const auto after, FromToken(request.page().token()));
  const size_t size = PageSizeOf(request.page());
  const int64_t now_unix_ms = absl::ToUnixMillis(parts.broker.sources().clock->Now());
  const std::vector<auth::Ban> bans = parts.access.ListBans(after, size);
  pb::ListBansResponse response;
  for (const auth::Ban& ban : bans) {
    if (ban.holds(now_unix_ms)) *response.add_bans() = ToProto(ban);
  }
  if (bans.size() == size) response.mutable_page()->set_next(ToToken(bans.back().target));
  return response;
}

absl::StatusOr<Kept> Keep(const AccessParts& parts, const Caller& caller,
                          const auth::BanTarget& target, const pb::Ban& ban) {
  const absl::Time now = parts.broker.sources().clock->Now();
  int64_t ends_at_unix_ms = 0;
  if (ban.has_ends()) {
    if (FromTimestamp(ban.ends()) <= now) return absl::InvalidArgumentError("ends: that is over");
    ends_at_unix_ms = absl::ToUnixMillis(FromTimestamp(ban.ends()));
  }
  if (ban.reason().size() > kReasonBytesMax)
    return absl::InvalidArgumentError(absl::StrCat("reason: at most ", kReasonBytesMax, " bytes"));
  return parts.store.Change(caller, [&](mqttd::access::v1::Change& change) -> absl::Status {
    if (parts.access.bans() >= kBansMax)
      return absl::ResourceExhaustedError(absl::StrCat("there are ", kBansMax, " bans already"));
    ToKept(target, *change.mutable_set_ban()->mutable_target());
    change.mutable_set_ban()->set_ends_at_unix_ms(ends_at_unix_ms);
    change.mutable_set_ban()->set_reason(ban.reason());
    return absl::OkStatus();
  });
}

void Set(const AccessParts& parts, const Caller& caller, const pb::SetBanRequest& request,
         const Reply<pb::SetBanResponse>& reply) {
  const auto target = ToTarget(request.ban());
  if (!target.ok()) return reply(target.status());
  if (absl::Status status = parts.broker.CheckOpen(); !status.ok()) return reply(status);
  const auto made = Keep(parts, caller, *target, request.ban());
  if (!made.ok()) return reply(made.status());
  parts.spread.Everywhere(caller, *made, AccessSpread::Users::kStay, [reply](const auto& done) {
    if (!done.ok()) return reply(done.status());
    pb::SetBanResponse response;
    response.set_disconnected(done->disconnected);
    AddMissing(*done, response);
    reply(std::move(response));
  });
}

void Remove(const AccessParts& parts, const Caller& caller, const pb::Ban& ban,
            const Reply<pb::RemoveBanResponse>& reply) {
  const auto target = ToTarget(ban);
  if (!target.ok()) return reply(target.status());
  if (absl::Status status = parts.broker.CheckOpen(); !status.ok()) return reply(status);
  const auto made = parts.store.Change(caller, [&](Kept& change) -> absl::Status {
    if (!parts.access.HasBan(*target))
      return absl::NotFoundError(absl::StrCat("there is no ban of \"", target->value, "\""));
    ToKept(*target, *change.mutable_remove_ban());
    return absl::OkStatus();
  });
  if (!made.ok()) return reply(made.status());
  parts.spread.Everywhere(caller, *made, AccessSpread::Users::kStay, [reply](const auto& done) {
    if (!done.ok()) return reply(done.status());
    pb::RemoveBanResponse response;
    AddMissing(*done, response);
    reply(std::move(response));
  });
}

}  // namespace

void AddBansService(const AccessParts& parts, Methods& methods) {
  methods.Add<pb::ListBansRequest, pb::ListBansResponse>(
      kService, "List", [parts](const Caller&, const pb::ListBansRequest& request, auto reply) {
        reply(List(parts, request));
      });
  methods.Add<pb::SetBanRequest, pb::SetBanResponse>(
      kService, "Set", [parts](const Caller& caller, const pb::SetBanRequest& request, auto reply) {
        Set(parts, caller, request, reply);
      });
  methods.Add<pb::RemoveBanRequest, pb::RemoveBanResponse>(
      kService, "Remove",
      [parts](const Caller& caller, const pb::RemoveBanRequest& request, auto reply) {
        Remove(parts, caller, request.ban(), reply);
      });
}

}  // namespace admin
