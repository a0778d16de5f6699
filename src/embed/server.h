// The broker as a part of another program.
//
//   mqttd::Options options;
//   options.listeners = {{.url = "mqtt://:1883"}, {.url = "ws://:8083"}};
//   options.hooks.on_publish = [](const ConnectionPtr& from, const Message& m, auto reply) { … };
//   mqttd::Server server(std::move(options));
//   const absl::Status ended = server.ListenAndServe();   // ErrServerClosed after Shutdown
//
// Nothing throws; what goes wrong is an absl::Status.
#ifndef EMBED_SERVER_H_
#define EMBED_SERVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/core/message.h"
#include "embed/hooks.h"

namespace mqttd {

// What `Serve` and `ListenAndServe` end with after `Shutdown`: kCancelled, "server closed".
absl::Status ErrServerClosed();
bool IsServerClosed(const absl::Status& status);

struct Listener {
  // "mqtt://:1883", "mqtts://…", "ws://HOST:PORT/PATH", "wss://…", "unix:/PATH"; port 0: any free
  // one.
  std::string url;
  std::string cert_file;  // PEM, of mqtts and wss.
  std::string key_file;
  // A socket that listens already, owned by the server from here on; `url` says what is spoken on
  // it. -1: the address is bound.
  int socket = -1;
  // Other keys of the configuration's `listeners`, by name: {"connections_max", "100"}.
  std::map<std::string, std::string> settings;
};

// Runs what it is given, once each, on any thread, and not later than it likes. Must not throw.
using Executor = std::function<void(std::function<void()> task)>;

// On the thread that serves the connection, at once: the fastest there is, for hooks that never
// block. A reply that comes within the call pauses nobody.
Executor InlineExecutor();

struct Options {
  // YAML, as mqttd's; docs/configuration.md has the keys. Empty: none is read. The environment is
  // not looked at.
  std::string config_file;
  // Keys of the configuration by their paths, above the file: {"broker.shards", "1"}. Those for
  // mqttd's HTTP endpoint have no effect here.
  std::map<std::string, std::string> settings;
  std::string data_dir;             // Empty: as configured, "mqttd-data" by default.
  std::vector<Listener> listeners;  // Instead of those of the file.
  Hooks hooks;
  Executor executor;  // Of hooks. Null: threads of the server's own.
  // Of those. A hook that blocks holds one; when all are held, the hooks of all clients wait, and
  // their `Hooks::timeout` runs meanwhile. 1 runs one hook at a time.
  uint32_t hook_threads = 4;
  // The process's log is set up as the configuration says (standard error, level info). False: it
  // is left as it is.
  bool configure_log = true;
};

// At one moment; what is counted is counted since the start.
struct Statistics {
  absl::Duration uptime;
  uint64_t connections = 0;  // Open, those before CONNECT included.
  uint64_t connections_opened = 0;
  uint64_t clients = 0;  // Connected.
  uint64_t sessions = 0;
  uint64_t subscriptions = 0;
  uint64_t retained_messages = 0;
  uint64_t queued_messages = 0;
  uint64_t messages_received = 0;  // PUBLISH packets.
  uint64_t messages_sent = 0;
  uint64_t messages_dropped = 0;  // For a subscriber, or not accepted; for whatever reason.
  uint64_t bytes_received = 0;    // Whole packets.
  uint64_t bytes_sent = 0;
  uint64_t memory_bytes = 0;  // Of the process.
  // Hooks.
  uint64_t hook_calls = 0;
  uint64_t hook_failures = 0;  // Threw, or let go of the reply.
  uint64_t hook_timeouts = 0;
  uint64_t hook_slow = 0;       // `on_deliver` and `on_state` that took longer than `Hooks::slow`.
  absl::Duration hook_longest;  // Of these two.
  uint64_t hook_calls_waiting = 0;
};

// Called on the one thread of the server's that serves its own subscriptions. Must not block for
// long: only messages for this process wait.
using MessageHandler = std::function<void(const client::ReceivedMessage&)>;
using Done = std::function<void(absl::Status)>;

// Any thread. One Server serves once, on listeners that may come and go meanwhile. The destructor
// shuts down, and returns when those have returned who wait for that in `Wait` and the like.
//
// Threads of its own: one for each usable processor (`broker.shards`), two for the store, one that
// watches them; `hook_threads` for hooks, and one for `Publish` and `Subscribe`, if they are used.
class Server {
 public:
  explicit Server(Options options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Opens the store, listens, and returns when clients are let in. Errors: those of the
  // configuration, the addresses and the store, in words; kFailedPrecondition: it was started
  // before; ErrServerClosed: it was shut down before it was started.
  absl::Status Start();
  // Blocks until `Shutdown`; then ErrServerClosed, or what could not be written. Any number of
  // threads may wait.
  absl::Status Wait();
  // Start and Wait.
  absl::Status ListenAndServe();
  // The same on this address, instead of those of the options; of a server that runs: on this one
  // too, as by `Listen`.
  absl::Status ListenAndServe(const std::string& url);
  // The same on a socket that listens, and is the server's from here on. `url` says what is spoken
  // on it: "mqtt://", or "mqtts://" with the options' first listener's certificate.
  absl::Status Serve(int listening_socket, const std::string& url = "mqtt://");

  // Opens one listener more while the server runs, and returns its URL, with the port that the
  // kernel chose. Errors: those of the address; kAlreadyExists: it has that listener;
  // kFailedPrecondition: it does not run.
  absl::StatusOr<std::string> Listen(Listener listener);
  // Nobody comes in there any more; who is connected stays. `url`: as `urls` or `Listen` had it.
  // kNotFound: there is none.
  absl::Status CloseListener(const std::string& url);

  // Accepts nothing any more, sends clients DISCONNECT (0x8B), keeps their sessions, writes the
  // store. Clients that have not gone by `deadline` are cut off. Returns when all is done: what
  // could not be written, or OK. Not from a hook. What the executor has yet to run of hooks,
  // `on_disconnect` above all, may run after it: on the server's own threads until the destructor
  // returns, on the program's executor even later.
  absl::Status Shutdown(absl::Duration deadline = absl::Seconds(10));

  // The configuration file is read again: certificates, passwords, access rules, limits. All of it
  // or nothing.
  absl::Status Reload();

  // With the ports that the kernel chose; empty before `Start`.
  std::vector<std::string> urls() const;
  Statistics GetStatistics() const;

  // ---- From inside the process, without a socket. After `Start`.
  // Calls `done`, if there is one: above QoS 0 when the message is routed and stored, at QoS 0 when
  // it is handed over, which says nothing of who got it. Then OK, whether or not anybody is
  // subscribed. kInvalidArgument: not a message that may be published. kResourceExhausted: too many
  // wait already. kCancelled: the server was shut down first. kUnavailable: it is not running, or
  // refuses the message. Order is kept. No access rules apply. `done` runs on the thread that runs
  // handlers, or at once if the server is not running.
  void Publish(Message message, Done done = {});
  // `handler` gets each message that matches from now on, and retained ones. `done`: kInvalid-
  // Argument if the filter is not valid.
  void Subscribe(client::Subscription subscription, MessageHandler handler, Done done = {});
  void Unsubscribe(std::string filter, Done done = {});

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mqttd

#endif  // EMBED_SERVER_H_
