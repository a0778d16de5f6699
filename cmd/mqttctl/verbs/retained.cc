// mqttctl retained: the message that each topic keeps.
#include <CLI/Option.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "input.h"
#include "mqttd/admin/v1/retained.pb.h"
#include "new_file.h"
#include "verbs/message_arguments.h"
#include "verbs/paging.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

struct ListArguments {
  std::string filter = "#";
  uint64_t payload_bytes = 64;
  uint32_t limit = 0;
};

absl::Status List(AdminSession& session, const VerbContext& context,
                  const ListArguments& arguments) {
  pb::ListRetainedRequest request;
  request.set_filter(arguments.filter);
  request.set_payload_bytes_max(arguments.payload_bytes);
  Json all;
  RETURN_IF_ERROR(ListAll<pb::ListRetainedResponse>(
      session, "Retained/List", request, arguments.limit,
      [](const auto& response) -> const auto& { return response.messages(); }, all));
  context.Print(RenderList(all,
                           {{"TOPIC", "topic"},
                            {"QOS", "qos"},
                            {"BYTES", "payload_bytes"},
                            {"PUBLISHED", "published"},
                            {"PAYLOAD", "payload"}},
                           context.form()));
  return absl::OkStatus();
}

absl::Status Get(AdminSession& session, const VerbContext& context, const std::string& topic) {
  pb::GetRetainedRequest request;
  request.set_topic(topic);
  pb::GetRetainedResponse response;
  RETURN_IF_ERROR(session.Call("Retained/Get", request, response));
  context.Print(Render(ToJson(response.message()), context.form()));
  return absl::OkStatus();
}

absl::Status Set(AdminSession& session, const VerbContext& context,
                 const MessageArguments& arguments) {
  pb::SetRetainedRequest request;
  RETURN_IF_ERROR(Fill(arguments, *request.mutable_message()));
  pb::SetRetainedResponse response;
  RETURN_IF_ERROR(session.Call("Retained/Set", request, response));
  PrintDone(context, "set\n", response);
  return absl::OkStatus();
}

absl::Status Delete(AdminSession& session, const VerbContext& context, const std::string& filter) {
  RETURN_IF_ERROR(
      context.Confirm(absl::StrCat("This removes all retained messages that match ", filter, ".")));
  pb::DeleteRetainedRequest request;
  request.set_filter(filter);
  pb::DeleteRetainedResponse response;
  RETURN_IF_ERROR(session.Call("Retained/Delete", request, response));
  PrintDone(context, absl::StrCat(base::Counted(response.deleted(), "message"), " removed\n"),
            response);
  return absl::OkStatus();
}

struct FileArguments {
  std::string filter = "#";
  std::string file;
};

// A line for each message, in protobuf's JSON.
absl::Status Export(AdminSession& session, const VerbContext& context,
                    const FileArguments& arguments) {
  std::optional<NewFile> file;
  if (!arguments.file.empty() && arguments.file != "-") {
    ASSIGN_OR_RETURN(NewFile opened,
                     NewFile::Create(arguments.file, NewFile::Mode::kEarlierOrUsual));
    file.emplace(std::move(opened));
  }
  pb::ExportRetainedRequest request;
  request.set_filter(arguments.filter);
  pb::ExportRetainedResponse response;
  uint64_t messages = 0;
  absl::Status written;
  RETURN_IF_ERROR(session.Stream("Retained/Export", request, response, [&] {
    std::string line;
    const auto status = google::protobuf::util::MessageToJsonString(response.message(), &line);
    if (!status.ok()) {
      written = absl::InternalError(absl::StrCat("the message of \"", response.message().topic(),
                                                 "\" cannot be written as JSON"));
      return false;
    }
    line += '\n';
    ++messages;
    if (!file.has_value()) return context.Print(line);
    written = file->Write(line);
    return written.ok();
  }));
  RETURN_IF_ERROR(written);
  if (!file.has_value()) return absl::OkStatus();
  RETURN_IF_ERROR(file->Finish());
  PrintDone(context, absl::StrCat(base::Counted(messages, "message"), " in ", arguments.file, "\n"),
            Json{{"exported", messages}, {"file", arguments.file}});
  return absl::OkStatus();
}

absl::Status Import(AdminSession& session, const VerbContext& context,
                    const FileArguments& arguments) {
  constexpr int kAtOnce = 500;
  constexpr size_t kBytesAtOnce = 4 << 20;
  absl::StatusOr<LineReader> lines = arguments.file == "-"
                                         ? absl::StatusOr<LineReader>(LineReader::OfStandardInput())
                                         : LineReader::Open(arguments.file);
  RETURN_IF_ERROR(lines.status());
  pb::ImportRetainedRequest request;
  uint64_t imported = 0;
  const auto send = [&]() -> absl::Status {
    if (request.messages().empty()) return absl::OkStatus();
    pb::ImportRetainedResponse response;
    RETURN_IF_ERROR(session.Call("Retained/Import", request, response));
    imported += response.imported();
    request.Clear();
    return absl::OkStatus();
  };
  std::string line;
  size_t bytes = 0;
  for (uint64_t number = 1;; ++number) {
    const absl::StatusOr<bool> more = lines->Next(line);
    if (!more.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(more.status().message(), " (line ", number,
                                                     "); ", imported, " before it are set"));
    }
    if (!*more) break;
    if (line.empty()) continue;
    pb::Message message;
    if (!google::protobuf::util::JsonStringToMessage(line, &message).ok()) {
      return absl::InvalidArgumentError(absl::StrCat(arguments.file, ":", number,
                                                     ": not a message as export writes it; ",
                                                     imported, " before it are set"));
    }
    // One that is large goes alone: a request has no room for more than one of the largest.
    if (request.messages_size() >= kAtOnce || bytes + line.size() > kBytesAtOnce) {
      RETURN_IF_ERROR(send());
      bytes = 0;
    }
    bytes += line.size();
    *request.add_messages() = std::move(message);
  }
  RETURN_IF_ERROR(send());
  PrintDone(context, absl::StrCat(base::Counted(imported, "message"), " set\n"),
            Json::object({{"imported", imported}}));
  return absl::OkStatus();
}

}  // namespace

void AddRetainedVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "retained", "Retained messages: one for each topic");
  const auto listed = std::make_shared<ListArguments>();
  CLI::App& list = context.AddVerb(
      noun, "list",
      "Retained messages that match a Topic Filter.\n\nExample: mqttctl retained list 'house/#'",
      [&context, listed](AdminSession& session) { return List(session, context, *listed); });
  list.add_option("filter", listed->filter, "Topic Filter (#)");
  list.add_option("--payload-bytes", listed->payload_bytes, "How much of each payload (64)");
  list.add_option("--limit", listed->limit, "At most so many");
  const auto topic = std::make_shared<std::string>();
  CLI::App& get = context.AddVerb(
      noun, "get",
      "The retained message of a topic.\n\nExample: mqttctl retained get house/door -o json",
      [&context, topic](AdminSession& session) { return Get(session, context, *topic); });
  get.add_option("topic", *topic, "Topic")->required();
  const auto message = std::make_shared<MessageArguments>();
  CLI::App& set = context.AddVerb(
      noun, "set",
      "Sets the retained message of a topic, and publishes it.\n\n"
      "Example: mqttctl retained set house/door -m open -q 1",
      [&context, message](AdminSession& session) { return Set(session, context, *message); });
  AddMessageOptions(set, *message);
  const auto filter = std::make_shared<std::string>();
  CLI::App& remove = context.AddVerb(
      noun, "delete",
      "Removes the retained messages that match; nobody is sent anything.\n\n"
      "Example: mqttctl retained delete 'house/old/#' --yes",
      [&context, filter](AdminSession& session) { return Delete(session, context, *filter); });
  remove.add_option("filter", *filter, "Topic Filter, or a topic")->required();
  const auto exported = std::make_shared<FileArguments>();
  CLI::App& save = context.AddVerb(
      noun, "export",
      "Writes retained messages to a file, one JSON object a line.\n\n"
      "Example: mqttctl retained export retained.jsonl --filter 'house/#'",
      [&context, exported](AdminSession& session) { return Export(session, context, *exported); });
  save.add_option("file", exported->file, "Where to (standard output)");
  save.add_option("--filter", exported->filter, "Topic Filter (#)");
  const auto imported = std::make_shared<FileArguments>();
  CLI::App& load = context.AddVerb(
      noun, "import",
      "Sets what export wrote, and publishes it.\n\n"
      "Example: mqttctl retained import retained.jsonl",
      [&context, imported](AdminSession& session) { return Import(session, context, *imported); });
  load.add_option("file", imported->file, "What export wrote; - is standard input")->required();
}

}  // namespace mqttctl
