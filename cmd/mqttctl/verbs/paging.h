// Lists that come in pages.
#ifndef CMD_MQTTCTL_VERBS_PAGING_H_
#define CMD_MQTTCTL_VERBS_PAGING_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "admin/output.h"
#include "admin/session.h"
#include "base/status_macros.h"

namespace mqttctl {

inline constexpr uint32_t kPageSize = 1000;

// All entries, page after page, or `limit` of them; 0: no limit. `entries` takes them out of a
// response.
template <typename Response, typename Request, typename Entries>
absl::Status ListAll(AdminSession& session, const std::string& method, Request request,
                     uint64_t limit, Entries entries, Json& all, uint32_t page_size = kPageSize) {
  all = Json::array();
  const auto enough = [&] { return limit != 0 && all.size() >= limit; };
  request.mutable_page()->set_size(limit != 0 && limit < page_size ? static_cast<uint32_t>(limit)
                                                                   : page_size);
  do {
    Response response;
    RETURN_IF_ERROR(session.Call(method, request, response));
    for (const auto& entry : entries(response)) {
      if (enough()) break;
      all.push_back(ToJson(entry));
    }
    request.mutable_page()->set_token(response.page().next());
  } while (!request.page().token().empty() && !enough());
  return absl::OkStatus();
}

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_VERBS_PAGING_H_
