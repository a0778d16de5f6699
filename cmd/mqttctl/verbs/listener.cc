// mqttctl listener and cert: where clients connect, and what is shown to them.
#include <memory>
#include <string>

#include "base/status_macros.h"
#include "mqttd/admin/v1/certificates.pb.h"
#include "mqttd/admin/v1/listeners.pb.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

absl::Status List(AdminSession& session, const VerbContext& context) {
  pb::ListListenersResponse response;
  RETURN_IF_ERROR(session.Call("Listeners/List", pb::ListListenersRequest(), response));
  context.Print(RenderList(ToJson(response)["listeners"],
                           {{"NAME", "name"},
                            {"URL", "url"},
                            {"CONNECTIONS", "connections"},
                            {"ACCEPTED", "accepted"},
                            {"CERTIFICATE_EXPIRES", "certificate_expires"}},
                           context.form()));
  return absl::OkStatus();
}

template <typename Response, typename Request>
absl::Status Certificates(AdminSession& session, const VerbContext& context, const char* method) {
  Response response;
  RETURN_IF_ERROR(session.Call(method, Request(), response));
  context.Print(RenderList(
      ToJson(response)["certificates"],
      {{"USED_BY", "used_by"}, {"EXPIRES", "expires"}, {"FILE", "file"}, {"WARNING", "warning"}},
      context.form()));
  return absl::OkStatus();
}

}  // namespace

void AddListenerVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& listener = context.AddNoun(app, "listener", "Where clients connect");
  context.AddVerb(listener, "list", "All listeners.\n\nExample: mqttctl listener list",
                  [&context](AdminSession& session) { return List(session, context); });
  CLI::App& cert = context.AddNoun(app, "cert", "The broker's own certificates");
  context.AddVerb(cert, "list",
                  "The certificates in use, and when they run out.\n\nExample: mqttctl cert list",
                  [&context](AdminSession& session) {
                    return Certificates<pb::ListCertificatesResponse, pb::ListCertificatesRequest>(
                        session, context, "Certificates/List");
                  });
  context.AddVerb(
      cert, "reload",
      "Reads certificates, keys and revocation lists again; connections that stand stay.\n\n"
      "Example: mqttctl cert reload",
      [&context](AdminSession& session) {
        return Certificates<pb::ReloadCertificatesResponse, pb::ReloadCertificatesRequest>(
            session, context, "Certificates/Reload");
      });
}

}  // namespace mqttctl
