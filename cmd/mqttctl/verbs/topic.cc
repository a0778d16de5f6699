// mqttctl topic: messages, published and watched without a client.
#include <CLI/Option.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "input.h"
#include "mqtt/utf8.h"
#include "mqttd/admin/v1/messages.pb.h"
#include "mqttd/admin/v1/topics.pb.h"
#include "terminal.h"
#include "verbs/message_arguments.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

absl::Status Publish(AdminSession& session, const VerbContext& context,
                     const MessageArguments& arguments) {
  pb::PublishRequest request;
  RETURN_IF_ERROR(Fill(arguments, *request.mutable_message()));
  request.mutable_message()->set_retain(arguments.retain);
  pb::PublishResponse response;
  RETURN_IF_ERROR(session.Call("Messages/Publish", request, response));
  if (context.form().table()) {
    context.Print(response.matched() ? "published\n"
                                     : "published; nobody has a subscription to it\n");
  } else {
    context.Print(Render(ToJson(response), context.form()));
  }
  return absl::OkStatus();
}

struct WatchArguments {
  std::vector<std::string> filters;
  bool retained = false;
  uint64_t payload_bytes = 0;
  uint64_t count = 0;
};

// False: it cannot be printed.
bool PrintOne(const VerbContext& context, const pb::SubscribeResponse& response) {
  if (!context.form().table()) return context.Print(ToJson(response).dump() + "\n");
  if (response.has_lost()) {
    return context.Print(absl::StrCat("(", base::Counted(response.lost().messages(), "message"),
                                      " left out: they came faster than they were read)\n"));
  }
  if (!response.has_message()) return true;
  const pb::Message& message = response.message();
  const bool text = mqtt::IsValidUtf8(message.payload());
  const std::string payload =
      text ? message.payload() : absl::StrCat("(", message.payload_bytes(), " bytes)");
  // A program gets payloads as they are.
  return context.Print(absl::StrCat(OneLine(message.topic()), " ",
                                    PrintsToTerminal() ? OneLine(payload) : payload, "\n"));
}

absl::Status Watch(AdminSession& session, const VerbContext& context,
                   const WatchArguments& arguments) {
  pb::SubscribeRequest request;
  for (const std::string& filter : arguments.filters) request.add_filters(filter);
  request.set_retained(arguments.retained);
  request.set_payload_bytes_max(arguments.payload_bytes);
  pb::SubscribeResponse response;
  uint64_t messages = 0;
  return session.Stream("Messages/Subscribe", request, response, [&] {
    if (!PrintOne(context, response)) return false;
    messages += response.has_message() ? 1 : 0;
    return arguments.count == 0 || messages < arguments.count;
  });
}

struct FiltersArguments {
  pb::ListFiltersRequest request;
  uint32_t limit = 0;
};

absl::Status Filters(AdminSession& session, const VerbContext& context,
                     const FiltersArguments& arguments) {
  pb::ListFiltersRequest request = arguments.request;
  request.set_count(arguments.limit);
  pb::ListFiltersResponse response;
  RETURN_IF_ERROR(session.Call("Topics/ListFilters", request, response));
  context.Print(
      RenderList(ToJson(response)["filters"],
                 {{"FILTER", "filter"}, {"SUBSCRIPTIONS", "subscriptions"}, {"DURABLE", "durable"}},
                 context.form()));
  if (response.subscriptions_left_out() != 0)
    std::fprintf(stderr, "Warning: not counted by filter: %s\n",
                 base::Counted(response.subscriptions_left_out(), "subscription").c_str());
  return absl::OkStatus();
}

struct BusiestArguments {
  std::string filter;
  uint32_t count = 0;
  uint32_t seconds = 2;
};

absl::Status Busiest(AdminSession& session, const VerbContext& context,
                     const BusiestArguments& arguments) {
  pb::BusiestTopicsRequest request;
  request.set_filter(arguments.filter);
  request.set_count(arguments.count);
  request.mutable_period()->set_seconds(arguments.seconds);
  pb::BusiestTopicsResponse response;
  RETURN_IF_ERROR(session.Call("Topics/Busiest", request, response));
  if (!context.form().table()) {
    context.Print(Render(ToJson(response), context.form()));
  } else {
    context.Print(RenderList(ToJson(response)["topics"],
                             {{"TOPIC", "topic"}, {"MESSAGES", "messages"}, {"BYTES", "bytes"}},
                             context.form()));
  }
  return absl::OkStatus();
}

}  // namespace

void AddMessageOptions(CLI::App& verb, MessageArguments& arguments) {
  verb.add_option("topic", arguments.topic, "Topic")->required();
  verb.add_option("-m,--message", arguments.payload, "Payload");
  verb.add_option("-f,--file", arguments.file, "A file with the payload");
  verb.add_option("-q,--qos", arguments.qos, "QoS (0)")->check(CLI::Range(0, 2));
  verb.add_option("--expiry", arguments.expiry_s, "Seconds after which it expires (never)");
}

absl::Status Fill(const MessageArguments& arguments, pb::Message& message) {
  message.set_topic(arguments.topic);
  message.set_qos(arguments.qos);
  if (arguments.expiry_s.has_value()) message.mutable_expiry()->set_seconds(*arguments.expiry_s);
  if (!arguments.file.empty()) {
    ASSIGN_OR_RETURN(*message.mutable_payload(), ReadFile(arguments.file));
  } else if (arguments.payload.has_value()) {
    message.set_payload(*arguments.payload);
  } else {
    return absl::InvalidArgumentError("what? -m TEXT or -f FILE");
  }
  return absl::OkStatus();
}

namespace {

void AddCountingVerbs(CLI::App& noun, VerbContext& context) {
  const auto filters = std::make_shared<FiltersArguments>();
  CLI::App& list = context.AddVerb(
      noun, "filters",
      "What is subscribed to, and how often.\n\nExample: mqttctl topic filters --topic house/door",
      [&context, filters](AdminSession& session) { return Filters(session, context, *filters); });
  list.add_option("--filter", *filters->request.mutable_filter(), "Its text, with * and ?");
  list.add_option("--topic", *filters->request.mutable_topic(), "Only those that match this topic");
  list.add_option("--limit", filters->limit, "At most so many (100)");
  const auto busiest = std::make_shared<BusiestArguments>();
  CLI::App& most = context.AddVerb(
      noun, "busiest",
      "The topics to which most is published, counted for some seconds.\n\n"
      "Example: mqttctl topic busiest --seconds 1",
      [&context, busiest](AdminSession& session) { return Busiest(session, context, *busiest); });
  most.add_option("filter", busiest->filter, "Only topics that match it (all)");
  most.add_option("--count", busiest->count, "At most so many (20)");
  most.add_option("--seconds", busiest->seconds, "How long (2)")->check(CLI::Range(1, 20));
}

}  // namespace

void AddTopicVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun =
      context.AddNoun(app, "topic", "Topics: publish, watch and count without a client");
  const auto message = std::make_shared<MessageArguments>();
  CLI::App& publish = context.AddVerb(
      noun, "publish",
      "Publishes a message; done when it is stored wherever it has to be.\n\n"
      "Example: mqttctl topic publish house/door -m open -q 1",
      [&context, message](AdminSession& session) { return Publish(session, context, *message); });
  AddMessageOptions(publish, *message);
  publish.add_flag("-r,--retain", message->retain, "The topic keeps it");
  AddCountingVerbs(noun, context);
  const auto watched = std::make_shared<WatchArguments>();
  CLI::App& watch = context.AddVerb(
      noun, "watch",
      "Messages that match, as they come.\n\nExample: mqttctl topic watch 'house/#' --count 10",
      [&context, watched](AdminSession& session) { return Watch(session, context, *watched); });
  watch.add_option("filter", watched->filters, "Topic Filters")->required();
  watch.add_flag("--retained", watched->retained, "Begin with the retained ones");
  watch.add_option("--payload-bytes", watched->payload_bytes, "How much of each payload (all)");
  watch.add_option("--count", watched->count, "End after so many");
}

}  // namespace mqttctl
