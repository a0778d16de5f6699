#include "broker/transport/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "broker/transport/socket_address.h"
#include "broker/transport/tcp_transport.h"
#include "broker/transport/tls_transport.h"
#include "broker/transport/websocket_transport.h"

namespace broker {
namespace {

// A descriptor until somebody else owns it.
class OwnedFd {
 public:
  explicit OwnedFd(int fd = -1) : fd_(fd) {}
  ~OwnedFd() {
    if (fd_ >= 0) close(fd_);
  }
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

// Why listening failed, in words that say what to do.
absl::Status ListenError(int error, const ListenerUrl& url) {
  const std::string where = url.ToString();
  switch (error) {
    case EADDRINUSE:
      return absl::AlreadyExistsError("address in use: " + where +
                                      ": another process listens there");
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(
          "not permitted to listen on " + where +
          (url.unix_socket() ? ": the directory must be writable"
                             : ": a port below 1024 needs the capability CAP_NET_BIND_SERVICE"));
    case EADDRNOTAVAIL:
      return absl::InvalidArgumentError("cannot listen on " + where +
                                        ": this machine has no such address");
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError("cannot listen on " + where + ": no such directory");
    default:
      return absl::UnavailableError("cannot listen on " + where + ": " + strerrordesc_np(error));
  }
}

absl::StatusOr<SocketAddress> Resolve(const ListenerUrl& url, const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(url.port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError("cannot listen on " + url.ToString() + ": " +
                                      gai_strerror(error));
  }
  SocketAddress address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.length = found->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

absl::Status Listen(int fd, int backlog, const ListenerUrl& url) {
  return listen(fd, backlog) == 0 ? absl::OkStatus() : ListenError(errno, url);
}

enum class ReusePort { kNo, kYes };

absl::StatusOr<OwnedFd> BindTcp(const SocketAddress& address, ReusePort reuse_port,
                                const ListenerUrl& url) {
  OwnedFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return ListenError(errno, url);
  const int on = 1;
  const int off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // Accepted sockets inherit it. Coalescing is done per turn, above.
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (address.storage.ss_family == AF_INET6) {  // [::] means IPv4 too, whatever the system says.
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (reuse_port == ReusePort::kYes &&
      setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
    return ListenError(errno, url);
  }
  if (bind(fd.get(), address.get(), address.length) != 0) return ListenError(errno, url);
  return fd;
}

// Is anybody behind the socket at that path?
bool AnswersAt(const SocketAddress& address) {
  const OwnedFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return connect(probe.get(), address.get(), address.length) == 0 || errno != ECONNREFUSED;
}

}  // namespace

Listener::Listener(ListenerOptions options, std::shared_ptr<ListenerCount> count)
    : options_(std::move(options)),
      count_(count == nullptr ? std::make_shared<ListenerCount>() : std::move(count)),
      served_path_(std::make_shared<const std::string>(options_.url.path)) {
  if (!options_.websocket_origins.empty()) {
    door_ = std::make_shared<WebSocketTransport::Door>();
    door_->origins = options_.websocket_origins;
    door_->counters = count_->counters;
  }
  UseBounds(options_);
}

Listener::~Listener() {
  for (const int fd : sockets_) {
    if (fd >= 0) close(fd);
  }
  struct stat now;
  if (unix_inode_ != 0 && lstat(options_.url.path.c_str(), &now) == 0 &&
      now.st_ino == unix_inode_ && now.st_dev == unix_device_) {
    unlink(options_.url.path.c_str());
  }
}

absl::StatusOr<std::shared_ptr<Listener>> Listener::Create(ListenerOptions options, int shards,
                                                           std::shared_ptr<ListenerCount> count) {
  CHECK(shards > 0) << "a listener needs a shard";
  std::shared_ptr<Listener> listener(new Listener(std::move(options), std::move(count)));
  if (listener->url().tls()) RETURN_IF_ERROR(listener->ReloadTls(listener->options_.tls));
  listener->sockets_.assign(static_cast<size_t>(shards), -1);
  if (listener->options_.socket >= 0) {
    RETURN_IF_ERROR(listener->TakeGiven());
  } else {
    RETURN_IF_ERROR(listener->url().unix_socket() ? listener->BindUnix()
                                                  : listener->BindInternet());
  }
  return listener;
}

// One socket: shard 0 accepts all, as of a unix socket.
absl::Status Listener::TakeGiven() {
  ListenerUrl& url = options_.url;
  sockets_[0] = options_.socket;
  int listens = 0;
  socklen_t length = sizeof(listens);
  if (getsockopt(options_.socket, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0 ||
      listens == 0) {
    return absl::InvalidArgumentError("the socket that was given for " + url.ToString() +
                                      " does not listen");
  }
  const int flags = fcntl(options_.socket, F_GETFL);
  if (flags < 0 || fcntl(options_.socket, F_SETFL, flags | O_NONBLOCK) != 0)
    return ListenError(errno, url);
  sockaddr_storage address{};
  length = sizeof(address);
  if (getsockname(options_.socket, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
      (address.ss_family == AF_INET || address.ss_family == AF_INET6)) {
    in_port_t port;
    std::memcpy(&port, reinterpret_cast<char*>(&address) + offsetof(sockaddr_in, sin_port),
                sizeof(port));
    url.port = ntohs(port);
  }
  return absl::OkStatus();
}

absl::Status Listener::BindInternet() {
  ListenerUrl& url = options_.url;
  absl::StatusOr<SocketAddress> address = Resolve(url, url.host.empty() ? "::" : url.host);
  RETURN_IF_ERROR(address.status());
  // SO_REUSEPORT would let a second broker take half of the connections without an error. The
  // first socket, without it, finds out whether the address is free, and which port it is.
  absl::StatusOr<OwnedFd> first = BindTcp(*address, ReusePort::kNo, url);
  if (!first.ok() && url.host.empty() && !absl::IsAlreadyExists(first.status())) {
    address = Resolve(url, "0.0.0.0");  // A machine without IPv6.
    RETURN_IF_ERROR(address.status());
    first = BindTcp(*address, ReusePort::kNo, url);
  }
  RETURN_IF_ERROR(first.status());
  getsockname(first->get(), address->get(), &address->length);
  in_port_t port;  // At the same place in both kinds of addresses.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  std::memcpy(&port, reinterpret_cast<char*>(address->get()) + offsetof(sockaddr_in, sin_port),
              sizeof(port));
  url.port = ntohs(port);

  if (sockets_.size() == 1) {
    RETURN_IF_ERROR(Listen(first->get(), options_.backlog, url));
    sockets_[0] = first->Release();
    return absl::OkStatus();
  }
  for (int& socket : sockets_) {
    ASSIGN_OR_RETURN(OwnedFd fd, BindTcp(*address, ReusePort::kYes, url));
    socket = fd.Release();
  }
  *first = OwnedFd();
  for (const int socket : sockets_) RETURN_IF_ERROR(Listen(socket, options_.backlog, url));
  return absl::OkStatus();
}

absl::Status Listener::BindUnix() {
  const ListenerUrl& url = options_.url;
  SocketAddress address;
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  CHECK(url.path.size() < sizeof(local.sun_path)) << "ParseListenerUrl limits it";
  url.path.copy(local.sun_path, sizeof(local.sun_path));
  std::memcpy(&address.storage, &local, sizeof(local));
  address.length = sizeof(local);

  struct stat found;
  if (lstat(url.path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) {
      return absl::AlreadyExistsError("cannot listen on " + url.ToString() +
                                      ": the path exists and is not a socket");
    }
    if (AnswersAt(address)) return ListenError(EADDRINUSE, url);
    unlink(url.path.c_str());  // Left behind by a process that was killed.
  }
  OwnedFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return ListenError(errno, url);
  fchmod(fd.get(), options_.unix_mode);  // So that nobody connects before the chmod below.
  if (bind(fd.get(), address.get(), address.length) != 0) return ListenError(errno, url);
  struct stat made;
  if (chmod(url.path.c_str(), options_.unix_mode) != 0 || lstat(url.path.c_str(), &made) != 0) {
    return ListenError(errno, url);
  }
  unix_device_ = made.st_dev;
  unix_inode_ = made.st_ino;
  RETURN_IF_ERROR(Listen(fd.get(), options_.backlog, url));
  sockets_[0] = fd.Release();
  return absl::OkStatus();
}

absl::Status Listener::ReloadTls(const TlsOptions& tls) {
  ASSIGN_OR_RETURN(std::shared_ptr<TlsContext> loaded, LoadTls(tls));
  UseTls(std::move(loaded));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<TlsContext>> Listener::LoadTls(const TlsOptions& tls) const {
  if (!url().tls()) return std::shared_ptr<TlsContext>();
  absl::StatusOr<std::shared_ptr<TlsContext>> made = TlsContext::Create(tls);
  if (made.ok()) return made;
  return absl::Status(made.status().code(),
                      "listener " + url().ToString() + ": " + std::string(made.status().message()));
}

void Listener::UseTls(std::shared_ptr<TlsContext> context) {
  certificate_expires_s_.store(context == nullptr ? 0 : context->expires_unix_s(),
                               std::memory_order_relaxed);
  const base::MutexLock lock(tls_mutex_);
  tls_ = std::move(context);
}

int Listener::TakeSocket(int shard) {
  return std::exchange(sockets_[static_cast<size_t>(shard)], -1);
}

void Listener::UseBounds(const ListenerOptions& options) {
  connections_max_.store(options.connections_max, std::memory_order_relaxed);
  connection_rate_max_.store(options.connection_rate_max, std::memory_order_relaxed);
  address_connections_max_.store(options.address_connections_max, std::memory_order_relaxed);
  address_connection_rate_max_.store(options.address_connection_rate_max,
                                     std::memory_order_relaxed);
}

SourceLimits::Bounds Listener::SourceBounds() const {
  return {address_connections_max_.load(std::memory_order_relaxed),
          address_connection_rate_max_.load(std::memory_order_relaxed)};
}

int64_t Listener::WaitBeforeAccept(int64_t now_ns) {
  const uint32_t rate = connection_rate_max_.load(std::memory_order_relaxed);
  if (rate == 0) return 0;
  const base::MutexLock lock(rate_mutex_);
  return rate_.WaitFor(now_ns, rate);
}

SourceLimits::Admission Listener::AdmitSource(std::optional<Source> source, int64_t now_ns) {
  using Verdict = SourceLimits::Verdict;
  const SourceLimits::Bounds bounds = SourceBounds();
  if (!source.has_value() || !bounds.any()) return {Verdict::kAdmitted, count_->counters};
  SourceLimits::Admission admission = count_->sources.Admit(*source, bounds, now_ns);
  if (admission.verdict == Verdict::kTooMany)
    count_->counters->refused_address_max.fetch_add(1, std::memory_order_relaxed);
  if (admission.verdict == Verdict::kTooFast)
    count_->counters->refused_address_rate.fetch_add(1, std::memory_order_relaxed);
  return admission;
}

SourceLimits::Admission Listener::AdmitProxied(const std::string& address, int64_t now_ns) {
  return AdmitSource(Source::Of(address), now_ns);
}

std::unique_ptr<Transport> Listener::Admit(int fd, const sockaddr_storage& peer, int64_t now_ns) {
  const auto source = options_.proxy_protocol ? std::nullopt : Source::Of(peer);
  SourceLimits::Admission admission = AdmitSource(source, now_ns);
  if (admission.place == nullptr) {
    LogRefused(fd, admission.verdict == SourceLimits::Verdict::kTooMany
                       ? "its address has address_connections_max connections"
                       : "its address connects faster than address_connection_rate_max");
    close(fd);
    return nullptr;
  }
  // Not those that one address has too many of: others need not wait for them.
  if (const uint32_t rate = connection_rate_max_.load(std::memory_order_relaxed); rate != 0) {
    const base::MutexLock lock(rate_mutex_);
    rate_.Take(now_ns, rate);
  }
  ConnectionSlot slot = ConnectionSlot::Take(std::move(admission.place),
                                             connections_max_.load(std::memory_order_relaxed));
  if (slot.empty()) {
    count_->counters->refused_connections_max.fetch_add(1, std::memory_order_relaxed);
    LogRefused(fd, "the listener has connections_max connections");
    close(fd);
    return nullptr;
  }
  count_->counters->accepted.fetch_add(1, std::memory_order_relaxed);
  std::unique_ptr<ProxyStage> proxy;
  if (options_.proxy_protocol) proxy = std::make_unique<ProxyStage>();
  std::unique_ptr<Transport> transport;
  if (url().tls()) {
    std::shared_ptr<TlsContext> context;
    {
      const base::MutexLock lock(tls_mutex_);
      context = tls_;
    }
    const auto application = url().websocket() ? TlsApplication::kHttp : TlsApplication::kMqtt;
    transport = std::make_unique<TlsTransport>(fd, *context, application, std::move(slot),
                                               std::move(proxy));
  } else {
    transport = std::make_unique<TcpTransport>(fd, std::move(slot), std::move(proxy));
  }
  if (!url().websocket()) return transport;
  return std::make_unique<WebSocketTransport>(std::move(transport), served_path_, door_);
}

void Listener::LogRefused(int fd, absl::string_view why) const {
  PeerInfo peer;
  ReadSocketAddresses(fd, peer);
  base::LogLimited(
      base::LogLevel::kInfo, "connection refused", why,
      {{"address", peer.address}, {"port", peer.port}, {"listener", url().ToString()}});
}

void Listener::CountRefusedDescriptor() {
  count_->counters->refused_descriptors.fetch_add(1, std::memory_order_relaxed);
}

void Listener::CountRateWait() {
  count_->counters->rate_waits.fetch_add(1, std::memory_order_relaxed);
}

void Listener::CountPause() { count_->counters->pauses.fetch_add(1, std::memory_order_relaxed); }

}  // namespace broker
