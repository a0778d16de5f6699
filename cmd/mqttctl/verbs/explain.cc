// mqttctl explain: who has a session, and why a message comes to somebody or does not.
#include <CLI/Option.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/explain.pb.h"
#include "terminal.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

absl::Status Owner(AdminSession& session, const VerbContext& context,
                   const std::string& client_id) {
  pb::ExplainOwnerRequest request;
  request.set_client_id(client_id);
  pb::ExplainOwnerResponse response;
  RETURN_IF_ERROR(session.Call("Explain/Owner", request, response));
  PrintDone(context, response.words() + "\n", response);
  return absl::OkStatus();
}

absl::Status Loss(AdminSession& session, const VerbContext& context, const std::string& node) {
  pb::ExplainLossRequest request;
  request.set_node(node);
  pb::ExplainLossResponse response;
  RETURN_IF_ERROR(session.Call("Explain/Loss", request, response));
  PrintDone(context, response.words() + "\n", response);
  return absl::OkStatus();
}

struct DeliveryArguments {
  pb::ExplainDeliveryRequest request;
  uint32_t qos = 0;
  int64_t expiry_s = -1;
  uint64_t payload_bytes = 0;
  uint32_t limit = 0;
};

absl::Status Delivery(AdminSession& session, const VerbContext& context,
                      const DeliveryArguments& arguments) {
  pb::ExplainDeliveryRequest request = arguments.request;
  request.mutable_message()->set_qos(arguments.qos);
  if (arguments.expiry_s >= 0)
    request.mutable_message()->mutable_expiry()->set_seconds(arguments.expiry_s);
  request.set_payload_bytes(arguments.payload_bytes);
  request.set_count(arguments.limit);
  pb::ExplainDeliveryResponse response;
  RETURN_IF_ERROR(session.Call("Explain/Delivery", request, response));
  if (!context.form().table()) {
    context.Print(Render(ToJson(response), context.form()));
    return absl::OkStatus();
  }
  if (!response.publisher_refused().empty()) {
    context.Print(absl::StrCat(
        "nobody gets it: ", OneLine(request.publisher() + ": " + response.publisher_refused()),
        "\n"));
    return absl::OkStatus();
  }
  if (response.verdicts().empty()) context.Print("nobody has a subscription to it\n");
  context.Print(RenderList(ToJson(response)["verdicts"],
                           {{"CLIENT", "client_id"},
                            {"OUTCOME", "outcome"},
                            {"WHY", "words"},
                            {"QOS", "qos"},
                            {"CONNECTED", "connected"},
                            {"FILTERS", "filters", true}},
                           context.form()));
  if (response.more()) context.Print("(and others)\n");
  return absl::OkStatus();
}

}  // namespace

void AddExplainVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "explain", "Who has a session; why a message comes or not");
  const auto owner = std::make_shared<std::string>();
  CLI::App& of_session = context.AddVerb(
      noun, "owner",
      "Which node, partition and shard have a session.\n\nExample: mqttctl explain owner sensor-7",
      [&context, owner](AdminSession& session) { return Owner(session, context, *owner); });
  of_session.add_option("client", *owner, "Client Identifier")->required();
  const auto dies = std::make_shared<std::string>();
  CLI::App& loss = context.AddVerb(
      noun, "loss", "What would be lost if a node died now.\n\nExample: mqttctl explain loss",
      [&context, dies](AdminSession& session) { return Loss(session, context, *dies); });
  loss.add_option("node", *dies, "By its identifier or number (the one that is asked)");
  const auto message = std::make_shared<DeliveryArguments>();
  CLI::App& delivery = context.AddVerb(
      noun, "delivery",
      "What would become of a message: to whom it comes, and why not to others. Nothing is\n"
      "published.\n\nExample: mqttctl explain delivery house/door --to sensor-7 -q 1",
      [&context, message](AdminSession& session) { return Delivery(session, context, *message); });
  delivery.add_option("topic", *message->request.mutable_message()->mutable_topic(), "Topic")
      ->required();
  delivery.add_option("--to", *message->request.mutable_client_id(),
                      "Client Identifier (all whose subscriptions match)");
  delivery.add_option("--from", *message->request.mutable_publisher(),
                      "Client Identifier of the publisher (somebody who may)");
  delivery.add_option("-q,--qos", message->qos, "QoS (0)")->check(CLI::Range(0, 2));
  delivery.add_option("--payload-bytes", message->payload_bytes, "How large its payload is (0)");
  delivery.add_option("--expiry", message->expiry_s, "Seconds after which it expires (never)");
  delivery.add_option("--limit", message->limit, "At most so many (100)");
}

}  // namespace mqttctl
