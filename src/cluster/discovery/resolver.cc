#include "cluster/discovery/resolver.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace cluster {
namespace {

std::string ToText(const addrinfo& found, uint32_t port) {
  char text[INET6_ADDRSTRLEN] = "";
  if (found.ai_family == AF_INET6) {
    const auto& address = *reinterpret_cast<const sockaddr_in6*>(found.ai_addr);
    inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof(text));
    return absl::StrCat("[", text, "]:", port);
  }
  const auto& address = *reinterpret_cast<const sockaddr_in*>(found.ai_addr);
  inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text));
  return absl::StrCat(text, ":", port);
}

absl::StatusOr<std::vector<std::string>> ResolveHost(const std::string& name) {
  const size_t colon = name.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(name.substr(colon + 1), &port) || port == 0 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", name, "\" is neither HOST:PORT nor the name of an SRV record, _SERVICE._tcp.NAME"));
  }
  std::string host = name.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]"))
    host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &first);
  if (error != 0) {
    const std::string words = absl::StrCat("looking for ", host, ": ", gai_strerror(error));
    return error == EAI_NONAME || error == EAI_NODATA ? absl::NotFoundError(words)
                                                      : absl::UnavailableError(words);
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(first, freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* found = first; found != nullptr; found = found->ai_next)
    addresses.push_back(ToText(*found, port));
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  return addresses;
}

// One question to the name servers.
class Query {
 public:
  explicit Query(uint16_t port) {
    ready_ = res_ninit(&state_) == 0;
    if (!ready_ || port == 0) return;
    state_.nscount = 1;
    state_.nsaddr_list[0] = {};
    state_.nsaddr_list[0].sin_family = AF_INET;
    state_.nsaddr_list[0].sin_port = htons(port);
    state_.nsaddr_list[0].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    state_.retrans = 1;
    state_.retry = 1;
  }
  ~Query() {
    if (ready_) res_nclose(&state_);
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  absl::Status Ask(const std::string& name, int type, std::vector<unsigned char>& answer) {
    answer.resize(64 * 1024);
    const int size = ready_ ? res_nquery(&state_, name.c_str(), ns_c_in, type, answer.data(),
                                         static_cast<int>(answer.size()))
                            : -1;
    if (size >= 0) {
      answer.resize(std::min(static_cast<size_t>(size), answer.size()));
      return absl::OkStatus();
    }
    if (ready_ && (state_.res_h_errno == HOST_NOT_FOUND || state_.res_h_errno == NO_DATA))
      return absl::NotFoundError(absl::StrCat("there is no SRV record ", name));
    return absl::UnavailableError(
        absl::StrCat("looking for ", name, ": the name servers do not answer"));
  }

 private:
  struct __res_state state_ {};
  bool ready_ = false;
};

absl::StatusOr<std::vector<std::string>> ResolveService(const std::string& name, uint16_t port) {
  Query query(port);
  std::vector<unsigned char> answer;
  if (absl::Status status = query.Ask(name, ns_t_srv, answer); !status.ok()) return status;
  ns_msg message;
  const absl::Status damaged =
      absl::UnavailableError(absl::StrCat("looking for ", name, ": the answer cannot be read"));
  if (ns_initparse(answer.data(), static_cast<int>(answer.size()), &message) != 0) return damaged;
  std::vector<std::pair<unsigned, std::string>> hosts;  // By priority, then by name.
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    ns_rr record;
    if (ns_parserr(&message, ns_s_an, i, &record) != 0) return damaged;
    if (ns_rr_type(record) != ns_t_srv) continue;
    const unsigned char* const data = ns_rr_rdata(record);
    if (ns_rr_rdlen(record) < 7) return damaged;  // Priority, weight, port, and a name.
    char host[NS_MAXDNAME];
    if (dn_expand(ns_msg_base(message), ns_msg_end(message), data + 6, host, sizeof(host)) < 0)
      return damaged;
    hosts.emplace_back(ns_get16(data),
                       absl::StrCat(absl::StripSuffix(host, "."), ":", ns_get16(data + 4)));
  }
  std::sort(hosts.begin(), hosts.end());
  std::vector<std::string> addresses;
  for (auto& [priority, address] : hosts) {
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(std::move(address));
  }
  if (addresses.empty()) return absl::NotFoundError(absl::StrCat("there is no SRV record ", name));
  return addresses;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> SystemResolver::Resolve(const std::string& name) {
  return absl::StartsWith(name, "_") ? ResolveService(name, port_) : ResolveHost(name);
}

}  // namespace cluster
