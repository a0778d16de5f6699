#include "sub.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/by_name.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "mqtt/topic.h"
#include "output_format.h"
#include "terminal.h"

namespace mqttctl {
namespace {

namespace asio = boost::asio;
namespace client = mqttd::client;

class Subscriber {
 public:
  Subscriber(const SubArguments& arguments, Prepared prepared, OutputFormat format)
      : arguments_(arguments),
        format_(std::move(format)),
        version_(prepared.options.session.version),
        subscribe_(std::move(prepared.subscribe)),
        unsubscribe_(std::move(prepared.unsubscribe)),
        disconnect_(std::move(prepared.disconnect)),
        client_(io_.get_executor(), std::move(prepared.options)),
        timer_(io_),
        signals_(io_, SIGINT, SIGTERM),
        rng_(base::Rng::FromEntropy()) {}

  int Run() {
    client_.OnMessage([this](const client::ReceivedMessage& message) { Take(message); });
    signals_.async_wait([this](const boost::system::error_code& error, int) {
      if (!error) Leave(kExitOk);
    });
    client_.AsyncConnect([this](absl::StatusOr<client::ConnectResult> result) {
      if (!result.ok()) return Fail(result.status());
      if (!result->ok()) {
        PrintError(arguments_.connection,
                   absl::StrCat("the broker refuses the connection: ",
                                base::AbslView(mqtt::ReasonCodeName(result->reason))));
        return End(ExitStatusOf(result->reason, version_));
      }
      client_.AsyncServe([this](absl::StatusOr<client::Client::Done> ended) {
        if (!ended.ok()) Fail(ended.status());
      });
      Begin();
    });
    io_.run();
    std::fflush(stdout);
    return status_;
  }

 private:
  void Begin() {
    if (arguments_.timeout_s.has_value()) {
      timer_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(
          std::chrono::duration<double>(*arguments_.timeout_s)));
      timer_.async_wait([this](const boost::system::error_code& error) {
        if (error || ending_) return;
        if (!arguments_.connection.quiet) std::fprintf(stderr, "Timed out\n");
        Leave(kExitTimedOut);
      });
    }
    if (arguments_.filters.empty()) return Unsubscribe();
    std::vector<client::Subscription> subscriptions;
    for (const std::string& filter : arguments_.filters) {
      subscriptions.push_back(
          {filter,
           {.qos = static_cast<mqtt::QoS>(arguments_.connection.qos),
            .no_local = arguments_.no_local,
            .retain_as_published = arguments_.retain_as_published,
            .retain_handling = static_cast<mqtt::RetainHandling>(arguments_.retain_handling)}});
    }
    client_.AsyncSubscribe(std::move(subscriptions), subscribe_,
                           [this](absl::StatusOr<client::SubscribeResult> result) {
                             if (!result.ok()) return Fail(result.status());
                             Subscribed(*result);
                           });
  }

  void Subscribed(const client::SubscribeResult& result) {
    for (size_t i = 0; i < result.reasons.size(); ++i) {
      if (!mqtt::IsError(result.reasons[i])) continue;
      PrintError(arguments_.connection,
                 absl::StrCat("the broker refuses the subscription to ", arguments_.filters[i],
                              ": ", base::AbslView(mqtt::ReasonCodeName(result.reasons[i]))));
    }
    const bool all_refused =
        std::all_of(result.reasons.begin(), result.reasons.end(), mqtt::IsError);
    if (all_refused) return Leave(static_cast<int>(result.reasons.front()));
    Unsubscribe();
  }

  void Unsubscribe() {
    if (arguments_.unsubscribe_from.empty()) return Ready();
    client_.AsyncRoundTrip(client::UnsubscribePacket{arguments_.unsubscribe_from, unsubscribe_},
                           [this](absl::StatusOr<client::Answer> answer) {
                             if (!answer.ok()) return Fail(answer.status());
                             Ready();
                           });
  }

  void Ready() {
    if (arguments_.exit_after_subscribing) Leave(kExitOk);
  }

  // A message is acknowledged once it is printed: what comes after the last that is wanted stays
  // with the broker, for the next run of a session that is kept.
  void Take(const client::ReceivedMessage& message) {
    if (ending_) return;
    if (arguments_.retained_only && !message.retain) return Leave(kExitOk);
    if (IsWanted(message)) {
      Print(message);
      ++taken_;
    }
    client_.Acknowledge(message);
    if (arguments_.count.has_value() && taken_ >= *arguments_.count) Leave(kExitOk);
  }

  bool IsWanted(const client::ReceivedMessage& message) {
    const bool filtered_out = std::any_of(
        arguments_.filters_out.begin(), arguments_.filters_out.end(),
        [&](const std::string& filter) { return mqtt::Matches(filter, message.topic); });
    if (filtered_out) return false;
    if (message.retain && arguments_.remove_retained) RemoveRetained(message.topic);
    if (message.retain && arguments_.no_retained) return false;
    return arguments_.chance_percent >= 100 || rng_.Unit() * 100 < arguments_.chance_percent;
  }

  void RemoveRetained(const std::string& topic) {
    client::Message nothing;
    nothing.topic = topic;
    nothing.retain = true;
    nothing.qos = mqtt::QoS::kAtLeastOnce;
    ++removing_;
    client_.AsyncPublish(std::move(nothing), [this](absl::StatusOr<client::PublishResult> result) {
      --removing_;
      if (!result.ok() && !ending_) PrintError(arguments_.connection, result.status());
      if (leaving_ && removing_ == 0) Disconnect();
    });
  }

  void Print(const client::ReceivedMessage& message) {
    line_.clear();
    if (const absl::Status status = format_.Append(message, absl::Now(), line_); !status.ok()) {
      line_.clear();
      PrintError(arguments_.connection, status);
    }
    if (PrintsToTerminal()) line_ = Harmless(line_);
    if (!arguments_.no_line_end) line_.push_back('\n');
    if (std::fwrite(line_.data(), 1, line_.size(), stdout) != line_.size())
      return End(kExitFailure);
    if (std::exchange(flushing_, true)) return;
    asio::post(io_, [this] {  // Once for all that has come.
      flushing_ = false;
      if (std::fflush(stdout) != 0) End(kExitFailure);
    });
  }

  void Leave(int exit_status) {
    if (std::exchange(ending_, true)) return;
    status_ = exit_status;
    leaving_ = true;
    if (removing_ == 0) Disconnect();
  }
  void Disconnect() {
    client_.AsyncDisconnect(disconnect_,
                            [this](absl::StatusOr<client::Client::Done>) { io_.stop(); });
  }
  void Fail(const absl::Status& status) {
    if (ending_) return;
    PrintError(arguments_.connection, status);
    End(kExitFailure);
  }
  void End(int exit_status) {
    ending_ = true;
    status_ = exit_status;
    client_.Close();
    io_.stop();
  }

  const SubArguments& arguments_;
  const OutputFormat format_;
  const mqtt::Version version_;
  const client::SubscribeOptions subscribe_;
  const std::vector<client::UserProperty> unsubscribe_;
  const client::DisconnectOptions disconnect_;
  asio::io_context io_{1};
  client::Client client_;
  asio::steady_timer timer_;
  asio::signal_set signals_;
  base::Rng rng_;
  std::string line_;
  int64_t taken_ = 0;
  int removing_ = 0;
  bool flushing_ = false;
  bool ending_ = false;
  bool leaving_ = false;
  int status_ = kExitOk;
};

absl::Status Check(const SubArguments& arguments) {
  if (arguments.filters.empty() && arguments.unsubscribe_from.empty()) {
    return absl::InvalidArgumentError("the topic is missing (-t)");
  }
  if (arguments.no_retained && arguments.retained_only) {
    return absl::InvalidArgumentError("-R and --retained-only together leave nothing");
  }
  if (arguments.count.has_value() && *arguments.count < 1) {
    return absl::InvalidArgumentError(absl::StrCat("-C ", *arguments.count, ": at least 1"));
  }
  for (const auto* filters :
       {&arguments.filters, &arguments.filters_out, &arguments.unsubscribe_from}) {
    for (const std::string& filter : *filters) {
      if (mqtt::IsValidTopicFilter(filter)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("\"", filter, "\" is no topic filter: are all + and # where they may be?"));
    }
  }
  return absl::OkStatus();
}

struct Ready {
  Prepared prepared;
  OutputFormat format;
};

absl::StatusOr<Ready> PrepareAll(SubArguments& arguments) {
  ASSIGN_OR_RETURN(Prepared prepared, Prepare(arguments.connection));
  if (!prepared.topic.empty()) arguments.filters.push_back(prepared.topic);
  RETURN_IF_ERROR(Check(arguments));
  prepared.options.session.manual_acknowledgement = true;
  const std::string simple = arguments.verbose ? "%t %p" : "%p";
  ASSIGN_OR_RETURN(OutputFormat format,
                   OutputFormat::Parse(arguments.format.value_or(simple), arguments.pretty));
  return Ready{std::move(prepared), std::move(format)};
}

}  // namespace

void AddSubOptions(CLI::App& command, SubArguments& arguments) {
  const auto what = "What is subscribed to";
  const auto filters = [&](const char* name, std::vector<std::string>& into, const char* words) {
    command.add_option(name, into, words)->type_size(1)->allow_extra_args(false)->group(what);
  };
  filters("-t,--topic", arguments.filters, "Topic filter; may be repeated");
  filters("-T,--filter-out", arguments.filters_out, "Do not print what matches; may be repeated");
  filters("-U,--unsubscribe", arguments.unsubscribe_from, "End this subscription of the session");
  command.add_option("-q,--qos", arguments.connection.qos, "Highest QoS: 0, 1 or 2 (0)")
      ->check(CLI::Range(0, 2))
      ->group(what);
  command
      .add_flag("--retain-as-published", arguments.retain_as_published,
                "Retain flags as the publishers set them (MQTT 5)")
      ->group(what);
  command.add_flag("--no-local", arguments.no_local, "Not what we publish ourselves (MQTT 5)")
      ->group(what);
  command
      .add_option("--retain-handling", arguments.retain_handling,
                  "Retained messages come 0: always, 1: if the subscription is new, 2: never (0)")
      ->check(CLI::Range(0, 2))
      ->group(what);
  const auto output = "What is printed";
  command.add_flag("-v,--verbose", arguments.verbose, "The topic before the payload")
      ->group(output);
  command
      .add_option("-F,--format", arguments.format, "Format, as mosquitto_sub has it: %t %p %j …")
      ->group(output);
  command.add_flag("--pretty", arguments.pretty, "JSON (%j, %J) over several lines")->group(output);
  command.add_flag("-N", arguments.no_line_end, "No line end behind a message")->group(output);
  command.add_flag("-R", arguments.no_retained, "No retained messages")->group(output);
  command
      .add_flag("--retained-only", arguments.retained_only,
                "Retained messages only; exit at the first other one")
      ->group(output);
  command
      .add_flag("--remove-retained", arguments.remove_retained,
                "Have the broker forget each retained message that comes")
      ->group(output);
  command
      .add_option("--random-filter", arguments.chance_percent, "Print so many per cent, by chance")
      ->check(CLI::Range(0.1, 100.0))
      ->group(output);
  const auto when = "When it ends";
  command.add_option("-C", arguments.count, "After so many messages")->group(when);
  command.add_option("-W", arguments.timeout_s, "After so many seconds (exit status 27)")
      ->check(CLI::PositiveNumber)
      ->group(when);
  command.add_flag("-E", arguments.exit_after_subscribing, "When the subscriptions are made")
      ->group(when);
  AddConnectionOptions(command, arguments.connection);
}

int Sub(const SubArguments& given) {
  SubArguments arguments = given;
  absl::StatusOr<Ready> ready = PrepareAll(arguments);
  if (!ready.ok()) {
    std::fprintf(stderr, "Error: %s\n\nUse 'mqttctl sub --help' to see usage.\n",
                 std::string(ready.status().message()).c_str());
    return kExitFailure;
  }
  return Subscriber(arguments, std::move(ready->prepared), std::move(ready->format)).Run();
}

}  // namespace mqttctl
