#include "broker/transport/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

namespace broker {
namespace {

struct TextAddress {
  std::string address;
  uint16_t port = 0;
};

TextAddress ToText(const sockaddr_storage& storage, socklen_t length) {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &storage, sizeof(v4));
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return {text, ntohs(v4.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &storage, sizeof(v6));
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof(text));
    } else {
      inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    }
    return {text, ntohs(v6.sin6_port)};
  }
  if (storage.ss_family == AF_UNIX && length > offsetof(sockaddr_un, sun_path)) {
    sockaddr_un local;
    std::memcpy(&local, &storage, sizeof(local));
    const size_t room = length - offsetof(sockaddr_un, sun_path);
    return {std::string(local.sun_path, strnlen(local.sun_path, room)), 0};
  }
  return {};
}

}  // namespace

void ReadSocketAddresses(int fd, PeerInfo& info) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
    TextAddress peer = ToText(storage, length);
    info.address = storage.ss_family == AF_UNIX ? "unix" : std::move(peer.address);
    info.port = peer.port;
  }
  storage = {};
  length = sizeof(storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
    TextAddress local = ToText(storage, length);
    info.local_address = std::move(local.address);
    info.local_port = local.port;
  }
}

}  // namespace broker
