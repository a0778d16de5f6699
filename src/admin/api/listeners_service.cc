#include "admin/api/listeners_service.h"

#include <algorithm>
#include <string>
#include <utility>

#include "admin/api/client_pages.h"
#include "admin/api/convert.h"
#include "broker/transport/tls_context.h"
#include "mqttd/admin/v1/certificates.pb.h"
#include "mqttd/admin/v1/listeners.pb.h"

namespace admin {
namespace {

google::protobuf::Timestamp AtSecond(int64_t unix_s) {
  return ToTimestamp(absl::FromUnixSeconds(unix_s));
}

// Null: it is stopped, and nobody is connected who came in there.
const broker::ListenerView* Find(const broker::MetricsSnapshot& snapshot, const std::string& name) {
  const auto found = std::find_if(snapshot.listeners.begin(), snapshot.listeners.end(),
                                  [&](const auto& each) { return each.name == name; });
  return found == snapshot.listeners.end() ? nullptr : &*found;
}

pb::ListListenersResponse ListListeners(const BrokerAccess& broker, const MainThread& main) {
  const broker::MetricsSnapshot snapshot = broker.sources().metrics();
  pb::ListListenersResponse response;
  for (const broker::ListenerSettings& settings : main.config().broker.listeners) {
    pb::Listener& listener = *response.add_listeners();
    listener.set_name(settings.name);
    const broker::ListenerView* const view = Find(snapshot, settings.name);
    if (view == nullptr) {
      listener.set_url(settings.listener.url.ToString());
      listener.set_stopped(true);
      continue;
    }
    listener.set_stopped(view->stopped);
    listener.set_url(view->url);
    listener.set_connections_max(settings.listener.connections_max);
    listener.set_connections(view->connections);
    listener.set_accepted(view->accepted);
    listener.set_refused_connections_max(view->refused_connections_max);
    listener.set_refused_address(view->refused_address_max + view->refused_address_rate);
    listener.set_refused_origin(view->refused_origins);
    listener.set_refused_descriptors(view->refused_descriptors);
    if (view->certificate_expires_unix_s != 0)
      *listener.mutable_certificate_expires() = AtSecond(view->certificate_expires_unix_s);
  }
  return response;
}

template <typename Response>
Response ListCertificates(const BrokerAccess& broker, const OwnCertificates& certificates,
                          const MainThread& main) {
  const int64_t now_unix_s = absl::ToUnixSeconds(broker.sources().clock->Now());
  const broker::MetricsSnapshot snapshot = broker.sources().metrics();
  Response response;
  const auto add = [&](const std::string& used_by, const std::string& file, int64_t expires) {
    pb::Certificate& certificate = *response.add_certificates();
    certificate.set_used_by(used_by);
    certificate.set_file(file);
    if (expires == 0) return certificate.set_warning("the file cannot be read");
    *certificate.mutable_expires() = AtSecond(expires);
    certificate.set_warning(broker::CertificateWarning(expires, now_unix_s));
  };
  for (const broker::ListenerSettings& settings : main.config().broker.listeners) {
    const broker::ListenerView* const view = Find(snapshot, settings.name);
    if (view == nullptr || view->certificate_expires_unix_s == 0) continue;
    add(settings.name, settings.listener.tls.cert_file, view->certificate_expires_unix_s);
  }
  for (const OwnCertificate& own : certificates.all())
    add(own.used_by, own.file, own.expires_unix_s);
  return response;
}

void Stop(const BrokerAccess& broker, const pb::StopListenerRequest& request,
          const Reply<pb::StopListenerResponse>& reply) {
  const bool open = broker.OnMain([&broker, request, reply](MainThread& main) {
    if (absl::Status status = main.StopListener(request.name()); !status.ok()) return reply(status);
    if (!request.disconnect()) return reply(pb::StopListenerResponse());
    broker::ClientQuery query;
    query.listener = request.name();
    KickClients(broker, std::move(query), {}, [reply](const absl::StatusOr<uint64_t>& kicked) {
      if (!kicked.ok()) return reply(kicked.status());
      pb::StopListenerResponse response;
      response.set_disconnected(*kicked);
      reply(std::move(response));
    });
  });
  if (!open) reply(broker.CheckOpen());
}

void Start(const BrokerAccess& broker, const std::string& name,
           const Reply<pb::StartListenerResponse>& reply) {
  const bool open = broker.OnMain([name, reply](MainThread& main) {
    const absl::StatusOr<std::string> url = main.StartListener(name);
    if (!url.ok()) return reply(url.status());
    pb::StartListenerResponse response;
    response.set_url(*url);
    reply(std::move(response));
  });
  if (!open) reply(broker.CheckOpen());
}

}  // namespace

void AddListenersService(const BrokerAccess& broker, Methods& methods) {
  methods.Add<pb::ListListenersRequest, pb::ListListenersResponse>(
      "mqttd.admin.v1.Listeners", "List",
      [&broker](const Caller&, const pb::ListListenersRequest&, auto reply) {
        const bool open = broker.OnMain(
            [&broker, reply](MainThread& main) { reply(ListListeners(broker, main)); });
        if (!open) reply(broker.CheckOpen());
      });
  methods.Add<pb::StopListenerRequest, pb::StopListenerResponse>(
      "mqttd.admin.v1.Listeners", "Stop",
      [&broker](const Caller&, const pb::StopListenerRequest& request, auto reply) {
        Stop(broker, request, reply);
      });
  methods.Add<pb::StartListenerRequest, pb::StartListenerResponse>(
      "mqttd.admin.v1.Listeners", "Start",
      [&broker](const Caller&, const pb::StartListenerRequest& request, auto reply) {
        Start(broker, request.name(), reply);
      });
}

void AddCertificatesService(const BrokerAccess& broker, const OwnCertificates& certificates,
                            Methods& methods) {
  constexpr char kService[] = "mqttd.admin.v1.Certificates";
  methods.Add<pb::ListCertificatesRequest, pb::ListCertificatesResponse>(
      kService, "List", [&](const Caller&, const pb::ListCertificatesRequest&, auto reply) {
        const bool open = broker.OnMain([&broker, &certificates, reply](MainThread& main) {
          reply(ListCertificates<pb::ListCertificatesResponse>(broker, certificates, main));
        });
        if (!open) reply(broker.CheckOpen());
      });
  methods.Add<pb::ReloadCertificatesRequest, pb::ReloadCertificatesResponse>(
      kService, "Reload", [&](const Caller&, const pb::ReloadCertificatesRequest&, auto reply) {
        const bool open = broker.OnMain([&broker, &certificates, reply](MainThread& main) {
          if (absl::Status status = main.ReloadFiles(); !status.ok()) return reply(status);
          reply(ListCertificates<pb::ReloadCertificatesResponse>(broker, certificates, main));
        });
        if (!open) reply(broker.CheckOpen());
      });
}

}  // namespace admin
