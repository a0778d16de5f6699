#include "admin/api/listeners_service.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <ctime>
#include <string>
#include <utility>

#include "admin/api/convert.h"
#include "broker/transport/tls_context.h"
#include "mqttd/admin/v1/certificates.pb.h"
#include "mqttd/admin/v1/listeners.pb.h"

namespace admin {
namespace {

google::protobuf::Timestamp AtSecond(int64_t unix_s) {
  return ToTimestamp(absl::FromUnixSeconds(unix_s));
}

// Listeners stand in the snapshot in the order of the configuration: they change only at a start.
pb::ListListenersResponse ListListeners(const BrokerAccess& broker, const MainThread& main) {
  const broker::MetricsSnapshot snapshot = broker.sources().metrics();
  pb::ListListenersResponse response;
  for (size_t i = 0; i < snapshot.listeners.size(); ++i) {
    const broker::ListenerView& view = snapshot.listeners[i];
    pb::Listener& listener = *response.add_listeners();
    listener.set_url(view.url);
    if (i < main.config().broker.listeners.size()) {
      const broker::ListenerSettings& settings = main.config().broker.listeners[i];
      listener.set_name(settings.name);
      listener.set_connections_max(settings.listener.connections_max);
    }
    listener.set_connections(view.connections);
    listener.set_accepted(view.accepted);
    listener.set_refused_connections_max(view.refused_connections_max);
    listener.set_refused_address(view.refused_address_max + view.refused_address_rate);
    listener.set_refused_origin(view.refused_origins);
    listener.set_refused_descriptors(view.refused_descriptors);
    if (view.certificate_expires_unix_s != 0)
      *listener.mutable_certificate_expires() = AtSecond(view.certificate_expires_unix_s);
  }
  return response;
}

// Of the first certificate in a file; 0: it cannot be read.
int64_t ExpiryOfFile(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return 0;
  X509* const certificate = PEM_read_X509(file, nullptr, nullptr, nullptr);
  std::fclose(file);
  std::tm end = {};
  const bool known =
      certificate != nullptr && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1;
  X509_free(certificate);
  return known ? static_cast<int64_t>(timegm(&end)) : 0;
}

template <typename Response>
Response ListCertificates(const BrokerAccess& broker, const MainThread& main) {
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
  for (size_t i = 0; i < snapshot.listeners.size(); ++i) {
    const int64_t expires = snapshot.listeners[i].certificate_expires_unix_s;
    if (expires == 0 || i >= main.config().broker.listeners.size()) continue;
    const broker::ListenerSettings& settings = main.config().broker.listeners[i];
    add(settings.name, settings.listener.tls.cert_file, expires);
  }
  const std::string& own = main.config().admin.cert_file;
  if (!own.empty()) add("admin", own, ExpiryOfFile(own));
  return response;
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
}

void AddCertificatesService(const BrokerAccess& broker, Methods& methods) {
  constexpr char kService[] = "mqttd.admin.v1.Certificates";
  methods.Add<pb::ListCertificatesRequest, pb::ListCertificatesResponse>(
      kService, "List", [&broker](const Caller&, const pb::ListCertificatesRequest&, auto reply) {
        const bool open = broker.OnMain([&broker, reply](MainThread& main) {
          reply(ListCertificates<pb::ListCertificatesResponse>(broker, main));
        });
        if (!open) reply(broker.CheckOpen());
      });
  methods.Add<pb::ReloadCertificatesRequest, pb::ReloadCertificatesResponse>(
      kService, "Reload",
      [&broker](const Caller&, const pb::ReloadCertificatesRequest&, auto reply) {
        const bool open = broker.OnMain([&broker, reply](MainThread& main) {
          if (absl::Status status = main.ReloadFiles(); !status.ok()) return reply(status);
          reply(ListCertificates<pb::ReloadCertificatesResponse>(broker, main));
        });
        if (!open) reply(broker.CheckOpen());
      });
}

}  // namespace admin
