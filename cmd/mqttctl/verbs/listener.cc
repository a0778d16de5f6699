// mqttctl listener and cert: where clients connect, and what is shown to them.
#include <CLI/Option.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/certificates.pb.h"
#include "mqttd/admin/v1/clients.pb.h"
#include "mqttd/admin/v1/listeners.pb.h"
#include "verbs/paging.h"
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
                            {"STOPPED", "stopped"},
                            {"CERTIFICATE_EXPIRES", "certificate_expires"}},
                           context.form()));
  return absl::OkStatus();
}

struct StopArguments {
  std::string name;
  bool disconnect = false;
};

absl::Status ConfirmStop(AdminSession& session, const VerbContext& context,
                         const StopArguments& arguments) {
  if (context.yes) return absl::OkStatus();
  std::string words =
      absl::StrCat("Nobody can connect to ", arguments.name, " until it is started again");
  if (arguments.disconnect) {
    pb::ListClientsRequest request;
    request.mutable_filter()->set_listener(arguments.name);
    Json clients;
    RETURN_IF_ERROR(ListAll<pb::ListClientsResponse>(
        session, "Clients/List", request, 0,
        [](const auto& response) -> const auto& { return response.clients(); }, clients));
    absl::StrAppend(&words, ", and ", base::Counted(clients.size(), "client"),
                    clients.size() == 1 ? " is" : " are", " disconnected");
  }
  return context.Confirm(words + ".");
}

absl::Status Stop(AdminSession& session, const VerbContext& context,
                  const StopArguments& arguments) {
  RETURN_IF_ERROR(ConfirmStop(session, context, arguments));
  pb::StopListenerRequest request;
  request.set_name(arguments.name);
  request.set_disconnect(arguments.disconnect);
  pb::StopListenerResponse response;
  RETURN_IF_ERROR(session.Call("Listeners/Stop", request, response));
  PrintDone(context,
            absl::StrCat("stopped; ", base::Counted(response.disconnected(), "client"),
                         " disconnected\n"),
            response);
  return absl::OkStatus();
}

absl::Status Start(AdminSession& session, const VerbContext& context, const std::string& name) {
  pb::StartListenerRequest request;
  request.set_name(name);
  pb::StartListenerResponse response;
  RETURN_IF_ERROR(session.Call("Listeners/Start", request, response));
  PrintDone(context, absl::StrCat("listens on ", response.url(), "\n"), response);
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
  const auto stopped = std::make_shared<StopArguments>();
  CLI::App& stop = context.AddVerb(
      listener, "stop",
      "Lets nobody in there any more, until it is started again or the broker is.\n\n"
      "Example: mqttctl listener stop lab --disconnect --yes",
      [&context, stopped](AdminSession& session) { return Stop(session, context, *stopped); });
  stop.add_option("listener", stopped->name, "Its name")->required();
  stop.add_flag("--disconnect", stopped->disconnect, "Also those who came in there");
  const auto started = std::make_shared<std::string>();
  CLI::App& start = context.AddVerb(
      listener, "start",
      "Opens a stopped listener again.\n\nExample: mqttctl listener start cellar",
      [&context, started](AdminSession& session) { return Start(session, context, *started); });
  start.add_option("listener", *started, "Its name")->required();
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
