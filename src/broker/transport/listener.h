// Listening sockets: one address, one socket per shard (SO_REUSEPORT), one limit over all of them.
#ifndef BROKER_TRANSPORT_LISTENER_H_
#define BROKER_TRANSPORT_LISTENER_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/rate_meter.h"
#include "broker/transport/listener_counters.h"
#include "broker/transport/listener_url.h"
#include "broker/transport/source_limits.h"
#include "broker/transport/tls_context.h"
#include "broker/transport/transport.h"
#include "broker/transport/websocket_transport.h"

namespace broker {

class Poller;

struct ListenerOptions {
  ListenerUrl url;
  TlsOptions tls;  // Used if `url.tls()`.
  // Over all shards; 0: no limit. Further connections are closed at once, but those above
  // `connection_rate_max`, per second, wait in the kernel's queue (`backlog`).
  uint32_t connections_max = 0;  // At the same time.
  uint32_t connection_rate_max = 0;
  uint32_t address_connections_max = 0;  // From one Source, likewise.
  uint32_t address_connection_rate_max = 0;
  // Every connection must begin with a PROXY header, version 1 or 2. Only behind a proxy: a
  // header is believed.
  bool proxy_protocol = false;
  // WebSocket: pages whose scripts may connect, as browsers write them in Origin, separated by
  // commas; empty: any.
  std::string websocket_origins;
  // Listens already, made by somebody else and owned from here on; `url` says what is spoken. -1:
  // the address is bound.
  int socket = -1;
  int backlog = 4096;       // Of each socket; the kernel cuts it to net.core.somaxconn.
  mode_t unix_mode = 0660;  // Permissions of a unix socket.
};

// One configured listener. Thread-safe; made before the shards run, outlives its acceptors.
class Listener {
 public:
  // Loads the TLS files and binds the address once per shard; the kernel queues connections from
  // here on. A unix socket is one socket: shard 0 accepts all (see `shares_one_socket`).
  // Errors: kInvalidArgument, kNotFound, kPermissionDenied, kAlreadyExists ("address in use"),
  // kUnavailable; with the URL in the words.
  // `count`: of the listener whose place it takes, to go on with; null: it counts from 0.
  static absl::StatusOr<std::shared_ptr<Listener>> Create(
      ListenerOptions options, int shards, std::shared_ptr<ListenerCount> count = nullptr);

  ~Listener();  // Closes sockets nobody took; removes the unix socket's path if it is still ours.
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // With the port that the kernel chose, where 0 was asked for.
  const ListenerUrl& url() const { return options_.url; }
  const ListenerOptions& options() const { return options_; }
  const ListenerCounters& counters() const { return *count_->counters; }
  const std::shared_ptr<ListenerCount>& count() const { return count_; }

  // Of what new connections are shown, since 1970; 0: no TLS.
  int64_t certificate_expires_unix_s() const {
    return certificate_expires_s_.load(std::memory_order_relaxed);
  }

  bool limits_sources() const { return SourceBounds().any(); }

  // All connections come in at shard 0's acceptor; its `AcceptFn` spreads them.
  bool shares_one_socket() const { return options_.url.unix_socket() || options_.socket >= 0; }

  // Reads the TLS files again: blocking. New connections use what was read; an error leaves all as
  // it was. kOk without TLS. In two steps where other files must be right too: null without TLS.
  absl::Status ReloadTls(const TlsOptions& tls);
  absl::StatusOr<std::shared_ptr<TlsContext>> LoadTls(const TlsOptions& tls) const;
  void UseTls(std::shared_ptr<TlsContext> context);

  // The bounds on connections that `options` has hold from the next one on.
  void UseBounds(const ListenerOptions& options);

  // For `Acceptor`. The caller owns the descriptor; -1 if this shard has none.
  int TakeSocket(int shard);

  // For `Acceptor`: nanoseconds until another connection is within the rate; 0: it is.
  int64_t WaitBeforeAccept(int64_t now_ns);

  // For `Acceptor`: makes the transport of an accepted descriptor, or closes it and returns null if
  // a limit is reached. `peer`: as accept() told it; that of a proxy is not limited.
  std::unique_ptr<Transport> Admit(int fd, const sockaddr_storage& peer, int64_t now_ns);

  // A connection that a proxy passed on, once its header has said whose it is: to be closed unless
  // admitted, else its place is kept while it lives. `now_ns` must be of the acceptors' clock,
  // which is std::chrono::steady_clock.
  SourceLimits::Admission AdmitProxied(const std::string& address, int64_t now_ns);

  void CountRefusedDescriptor();
  void CountRateWait();
  void CountPause();

 private:
  Listener(ListenerOptions options, std::shared_ptr<ListenerCount> count);

  void LogRefused(int fd, absl::string_view why) const;
  absl::Status BindInternet();
  absl::Status BindUnix();
  absl::Status TakeGiven();
  SourceLimits::Admission AdmitSource(std::optional<Source> source, int64_t now_ns);
  SourceLimits::Bounds SourceBounds() const;

  ListenerOptions options_;
  const std::shared_ptr<ListenerCount> count_;  // Its counters outlive it in its connections.
  // Of `options_`, and of each reload.
  std::atomic<uint32_t> connections_max_;
  std::atomic<uint32_t> connection_rate_max_;
  std::atomic<uint32_t> address_connections_max_;
  std::atomic<uint32_t> address_connection_rate_max_;
  base::Mutex rate_mutex_;  // Taken once per accepted connection, if there is a limit.
  base::EvenRateMeter rate_ ABSL_GUARDED_BY(rate_mutex_);
  mutable base::Mutex tls_mutex_;  // Taken once per accepted connection and per reload.
  std::atomic<int64_t> certificate_expires_s_{0};
  std::shared_ptr<TlsContext> tls_ ABSL_GUARDED_BY(tls_mutex_);
  // Shared with the WebSocket transports.
  std::shared_ptr<const std::string> served_path_;
  std::shared_ptr<WebSocketTransport::Door> door_;  // Null: no origins are named.
  std::vector<int> sockets_;                        // By shard; -1 once taken.
  dev_t unix_device_ = 0;                           // The path's inode, to know it again.
  ino_t unix_inode_ = 0;
};

// Called on the acceptor's thread. For a listener that `shares_one_socket` the transport may be
// handed over to any shard: it is not bound to a thread before its first use.
using AcceptFn = std::function<void(std::unique_ptr<Transport>)>;

// One shard's part of a listener. Used on its poller's thread only.
class Acceptor {
 public:
  // Does nothing for a shard that has no socket of this listener. Accepts from the next turn of
  // `poller` on, a bounded number per turn.
  Acceptor(Poller& poller, std::shared_ptr<Listener> listener, int shard, AcceptFn accept);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // Accepts nothing until told to go on; the kernel queues connections meanwhile. Idempotent.
  void Hold();
  void GoOn();

  // Closes the socket; connections the kernel still queued are reset. Idempotent.
  void StopAccepting();

 private:
  class Loop;
  std::shared_ptr<Loop> loop_;
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_LISTENER_H_
