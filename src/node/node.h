// One node of the broker, from its configuration to the last write: what mqttd's main and
// mqttd::Server are made of.
#ifndef NODE_NODE_H_
#define NODE_NODE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/server.h"
#include "config/config.h"
#include "node/seat.h"
#include "storage/partition_host.h"

namespace node {

// For one controlling thread.
class Node {
 public:
  // Binds the listeners, loads certificates, passwords, rules. Errors: as broker::Server::Create.
  // `seat`: of a node in a cluster; null: it is alone.
  static absl::StatusOr<std::unique_ptr<Node>> Create(config::Config config,
                                                      broker::Server::Dependencies dependencies,
                                                      std::unique_ptr<Seat> seat = nullptr);
  // Opens the store. Errors: as storage::PartitionHost::Open.
  absl::Status Open();
  // `on_ready` is called once, on some thread, when clients are let in. In a cluster that may take
  // as long as it takes to find it; the others are called as Seat::Use says. Errors: of a cluster
  // only.
  struct Listeners {
    std::function<void()> on_ready;
    std::function<void()> on_given_up;
    std::function<void(const absl::Status&)> on_stopped;
  };
  absl::Status Start(Listeners listeners);

  // All of what can be changed while it runs, or nothing on an error. Files are read again even if
  // their names did not change.
  absl::Status Reload(const config::Config& wanted);

  // Of what Reload does only this.
  absl::Status UseLog(const base::LogOptions& log, const config::Origin& level_origin);

  // Of the configuration in force, by name. Errors: kNotFound, there is none of that name;
  // kFailedPrecondition: it is stopped, or is not; those of the address.
  absl::Status StopListener(const std::string& name);
  absl::StatusOr<std::string> StartListener(const std::string& name);

  // See broker::Server::Drain. A node that was never let into its cluster has no clients, and from
  // here on it is not let in.
  absl::Duration Drain(std::function<void()> on_drained);
  // Clients are told, sessions kept, the store is written. Returns what could not be written.
  absl::Status Stop(std::optional<absl::Duration> timeout = std::nullopt);

  const config::Config& config() const { return config_; }
  broker::Server& server() { return *server_; }
  const broker::Server& server() const { return *server_; }
  // From `Open` on.
  storage::PartitionHost& host() { return *host_; }
  const storage::PartitionHost& host() const { return *host_; }
  const std::string& node_id() const { return host_->node_id(); }
  // Any thread. In an operator's words, what is wrong with its cluster. Empty: nothing, or it is
  // alone.
  bool refuses_all() const { return seat_ != nullptr && seat_->refuses_all(); }
  std::string why_not_whole() const { return seat_ == nullptr ? std::string() : seat_->why(); }
  // What it is in its cluster and need not be. Empty: nothing.
  std::string note() const { return seat_ == nullptr ? std::string() : seat_->note(); }
  // Null: it is alone.
  Seat* seat() const { return seat_.get(); }

 private:
  Node(config::Config config, std::unique_ptr<Seat> seat, std::unique_ptr<broker::Server> server)
      : config_(std::move(config)), seat_(std::move(seat)), server_(std::move(server)) {}
  // Of a listener, by name. Empty: none of that name is open.
  std::string UrlOf(const std::string& name) const;

  config::Config config_;
  std::unique_ptr<Seat> seat_;
  std::unique_ptr<broker::Server> server_;  // Used by the host, which goes first.
  std::unique_ptr<storage::PartitionHost> host_;
};

}  // namespace node

#endif  // NODE_NODE_H_
