// The admin API whole: its services, who may call them, and the gRPC server.
#ifndef ADMIN_API_API_H_
#define ADMIN_API_API_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "admin/api/access.h"
#include "admin/api/access_spread.h"
#include "admin/api/access_store.h"
#include "admin/api/backup_service.h"
#include "admin/api/broker_access.h"
#include "admin/api/calls.h"
#include "admin/api/fleet.h"
#include "admin/api/grpc_server.h"
#include "admin/api/health.h"
#include "admin/api/http_api.h"
#include "admin/api/inside_clients.h"
#include "admin/api/method.h"
#include "admin/api/own_certificates.h"
#include "admin/api/topic_samples.h"
#include "admin/api/watch_service.h"
#include "base/node_call.h"
#include "config/config.h"

namespace admin {

// Made by main before the store is opened, so that a broker that starts can be asked why it takes
// so long. One controlling thread.
class Api {
 public:
  // Errors: those of AccessTable::Load.
  static absl::StatusOr<std::unique_ptr<Api>> Create(const config::Config& config,
                                                     BrokerAccess::Sources sources,
                                                     std::shared_ptr<auth::RunTimeAccess> access);
  // Errors: those of GrpcServer::Start. If the address is only the default and cannot be had, there
  // is a warning and no server: several brokers may share a machine.
  absl::Status Listen(const config::Config& config);
  ~Api();

  // What earlier runs have kept in the data directory holds from here on: once the directory is
  // this process's, and before clients are let in. Errors: those of AccessStore::Load.
  absl::Status LoadRunTimeAccess() { return access_store_.Load(); }
  // From when the store is open until Stop.
  void Open(broker::Server& server, storage::PartitionHost& host) { broker_.Use(&server, &host); }
  // Once a second.
  void Tick();
  // Before the broker stops: calls under way get a moment to end, streams are ended.
  void Stop();

  // access_file and ca_file, read again. On an error nothing changes: `Use` is for later.
  static absl::StatusOr<std::shared_ptr<const AccessTable>> LoadAccess(
      const config::AdminOptions& options) {
    return AccessTable::Load(options);
  }
  void UseAccess(std::shared_ptr<const AccessTable> table) { access_.Use(std::move(table)); }

  // "127.0.0.1:9884"; "off".
  std::string address() const { return server_ == nullptr ? "off" : address_; }
  const Methods& methods() const { return methods_; }
  // For the HTTP endpoint, which goes first. Null: it is not to serve the API.
  HttpCalls* http(const config::Config& config) {
    return config.http.api && !off_ ? http_.get() : nullptr;
  }
  AdminCalls calls() const { return calls_.view(); }
  // Beside those of listeners.
  std::vector<OwnCertificate> certificates() const { return certificates_.all(); }

  // A call that another node of the cluster passes on. Any thread.
  void Serve(uint32_t from, base::NodeCall call, std::function<void(base::NodeReply)> reply) {
    fleet_.Serve(from, std::move(call), std::move(reply));
  }

 private:
  Api(std::shared_ptr<const AccessTable> table, const config::Config& config,
      BrokerAccess::Sources sources, std::shared_ptr<auth::RunTimeAccess> run_time_access);

  BrokerAccess broker_;
  Methods here_;  // What this node answers by itself.
  Fleet fleet_{broker_, here_};
  InsideClients inside_{broker_};
  TopicSamples topic_samples_{broker_, inside_};
  Watches watches_{broker_};
  Backups backups_{broker_};
  const std::shared_ptr<auth::RunTimeAccess> run_time_access_;
  AccessStore access_store_;
  AccessSpread access_spread_;
  Methods methods_;  // What it answers callers, of a cluster for all of it.
  OwnCertificates certificates_;
  Access access_;
  Calls calls_;
  Health health_;
  std::unique_ptr<HttpApi> http_;
  const bool off_;  // It was not wanted at all.
  std::unique_ptr<GrpcServer> server_;
  std::string address_;
};

}  // namespace admin

#endif  // ADMIN_API_API_H_
