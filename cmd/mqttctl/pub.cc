#include "pub.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "input.h"
#include "mqtt/topic.h"

namespace mqttctl {
namespace {

namespace asio = boost::asio;
namespace client = mqttd::client;

// Lines of standard input, read by a thread of its own, which waits while many are not taken.
class Lines {
 public:
  // `changed` is called on that thread, and only hands on that there is something to take.
  explicit Lines(std::function<void()> changed) : changed_(std::move(changed)) {}

  static void Read(const std::shared_ptr<Lines>& lines) {
    std::thread([lines] {
      LineReader input = LineReader::OfStandardInput();
      std::string line;
      for (;;) {
        const absl::StatusOr<bool> more = input.Next(line);
        if (!more.ok() || !*more) return lines->End(more.status());
        if (!lines->Put(std::move(line))) return;
      }
    }).detach();  // It may wait for input for ever when the program ends.
  }
  // Whoever takes them goes: nothing is called any more when this returns.
  void Leave() {
    base::MutexLock lock(mutex_);
    changed_ = nullptr;
    room_.SignalOne();
  }
  std::optional<std::string> Take() {
    base::MutexLock lock(mutex_);
    if (lines_.empty()) return std::nullopt;
    std::string line = std::move(lines_.front());
    lines_.pop_front();
    room_.SignalOne();
    return line;
  }
  // Nothing: there may be more. Else why there is none: an error if it could not be read.
  std::optional<absl::Status> ended() const {
    base::MutexLock lock(mutex_);
    if (!ended_.has_value() || !lines_.empty()) return std::nullopt;
    return ended_;
  }

 private:
  static constexpr size_t kWaitingMax = 1024;

  // False: nobody takes them any more.
  bool Put(std::string line) {
    base::MutexLock lock(mutex_);
    while (changed_ != nullptr && lines_.size() >= kWaitingMax) room_.Wait(mutex_);
    if (changed_ == nullptr) return false;
    lines_.push_back(std::move(line));
    changed_();
    return true;
  }
  void End(const absl::Status& status) {
    base::MutexLock lock(mutex_);
    ended_ = status;
    if (changed_ != nullptr) changed_();
  }

  mutable base::Mutex mutex_;
  std::function<void()> changed_ ABSL_GUARDED_BY(mutex_);
  base::CondVar room_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::string> PayloadOf(const PubArguments& arguments) {
  const int ways = (arguments.message.has_value() ? 1 : 0) + (arguments.file.empty() ? 0 : 1) +
                   (arguments.lines ? 1 : 0) + (arguments.standard_input ? 1 : 0) +
                   (arguments.nothing ? 1 : 0);
  if (ways > 1) return absl::InvalidArgumentError("only one of -f, -l, -m, -n and -s at a time");
  if (ways == 0) {
    return absl::InvalidArgumentError("what is to be published? One of -f, -l, -m, -n and -s");
  }
  if (!arguments.file.empty()) return ReadFile(arguments.file);
  if (arguments.standard_input) return ReadStandardInput();
  return arguments.message.value_or("");
}

class Publisher {
 public:
  Publisher(const PubArguments& arguments, Prepared prepared)
      : arguments_(arguments),
        message_(std::move(prepared.message)),
        version_(prepared.options.session.version),
        disconnect_(std::move(prepared.disconnect)),
        window_(size_t{2} * prepared.options.session.inflight_messages_max),
        client_(io_.get_executor(), std::move(prepared.options)),
        timer_(io_) {}
  ~Publisher() {
    if (lines_ != nullptr) lines_->Leave();
  }
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  int Run() {
    client_.AsyncConnect([this](absl::StatusOr<client::ConnectResult> result) {
      if (!result.ok()) return Fail(result.status(), kExitFailure);
      if (!result->ok()) {
        PrintError(arguments_.connection,
                   absl::StrCat("the broker refuses the connection: ",
                                base::AbslView(mqtt::ReasonCodeName(result->reason))));
        return End(ExitStatusOf(result->reason, version_));
      }
      client_.AsyncServe([this](absl::StatusOr<client::Client::Done> ended) {
        if (!ended.ok()) Fail(ended.status(), kExitFailure);
      });
      Begin();
    });
    io_.run();
    return status_;
  }

 private:
  void Begin() {
    if (!arguments_.lines) return PublishRepeat();
    lines_ = std::make_shared<Lines>([this] { asio::post(io_, [this] { PublishLines(); }); });
    Lines::Read(lines_);
  }

  void PublishRepeat() {
    if (sent_ == std::max<int64_t>(1, arguments_.repeat)) return Disconnect();
    ++sent_;
    client_.AsyncPublish(message_, [this](absl::StatusOr<client::PublishResult> result) {
      if (!Ended(result)) return;
      if (arguments_.repeat_delay_s <= 0 || sent_ >= arguments_.repeat) {
        return asio::post(io_, [this] { PublishRepeat(); });
      }
      timer_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(
          std::chrono::duration<double>(arguments_.repeat_delay_s)));
      timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) PublishRepeat();
      });
    });
  }

  void PublishLines() {
    while (!ending_ && open_ < window_) {
      std::optional<std::string> line = lines_->Take();
      if (!line.has_value()) break;
      ++open_;
      client::Message message = message_;
      message.payload = *std::move(line);
      client_.AsyncPublish(std::move(message),
                           [this](absl::StatusOr<client::PublishResult> result) {
                             --open_;
                             if (!Ended(result)) return;
                             asio::post(io_, [this] { PublishLines(); });
                           });
    }
    if (open_ > 0 || ending_) return;
    const std::optional<absl::Status> ended = lines_->ended();
    if (!ended.has_value()) return;
    if (!ended->ok()) {
      PrintError(arguments_.connection, *ended);
      status_ = kExitFailure;
    }
    Disconnect();
  }

  // False: there is nothing more to do.
  bool Ended(const absl::StatusOr<client::PublishResult>& result) {
    if (ending_) return false;
    if (!result.ok()) {
      Fail(result.status(), kExitFailure);
      return false;
    }
    if (!result->ok()) {
      PrintError(arguments_.connection,
                 absl::StrCat("the broker refuses the message: ",
                              base::AbslView(mqtt::ReasonCodeName(result->reason))));
      status_ = static_cast<int>(result->reason);
    }
    return true;
  }

  void Disconnect() {
    if (std::exchange(ending_, true)) return;
    client_.AsyncDisconnect(disconnect_,
                            [this](absl::StatusOr<client::Client::Done>) { io_.stop(); });
  }

  void Fail(const absl::Status& status, int exit_status) {
    if (ending_) return;
    PrintError(arguments_.connection, status);
    End(exit_status);
  }
  void End(int exit_status) {
    ending_ = true;
    status_ = exit_status;
    client_.Close();
    io_.stop();
  }

  const PubArguments& arguments_;
  client::Message message_;
  const mqtt::Version version_;
  const client::DisconnectOptions disconnect_;
  const size_t window_;
  asio::io_context io_{1};
  client::Client client_;
  asio::steady_timer timer_;
  std::shared_ptr<Lines> lines_;
  size_t open_ = 0;
  int64_t sent_ = 0;
  bool ending_ = false;
  int status_ = kExitOk;
};

absl::StatusOr<Prepared> PrepareAll(const PubArguments& arguments) {
  ASSIGN_OR_RETURN(Prepared prepared, Prepare(arguments.connection));
  client::Message& message = prepared.message;
  message.topic = arguments.topic.empty() ? prepared.topic : arguments.topic;
  if (message.topic.empty()) return absl::InvalidArgumentError("the topic is missing (-t)");
  if (!mqtt::IsValidTopicName(message.topic)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", message.topic, "\" cannot be published to: does it contain + or #?"));
  }
  message.qos = static_cast<mqtt::QoS>(arguments.connection.qos);
  message.retain = arguments.retain;
  ASSIGN_OR_RETURN(message.payload, PayloadOf(arguments));
  return prepared;
}

}  // namespace

void AddPubOptions(CLI::App& command, PubArguments& arguments) {
  const auto what = "What is published";
  command.add_option("-t,--topic", arguments.topic, "Topic")->group(what);
  command.add_option("-m,--message", arguments.message, "The payload itself")->group(what);
  command.add_option("-f,--file", arguments.file, "The payload is what is in this file")
      ->group(what);
  command.add_flag("-l,--stdin-line", arguments.lines, "Each line of the input is a message")
      ->group(what);
  command.add_flag("-s,--stdin-file", arguments.standard_input, "All of the input is one message")
      ->group(what);
  command.add_flag("-n,--null-message", arguments.nothing, "No payload")->group(what);
  command.add_option("-q,--qos", arguments.connection.qos, "QoS: 0, 1 or 2 (0)")
      ->check(CLI::Range(0, 2))
      ->group(what);
  command.add_flag("-r,--retain", arguments.retain, "The broker keeps it for later subscribers")
      ->group(what);
  command.add_option("--repeat", arguments.repeat, "Publish -f, -m, -n or -s so many times (1)")
      ->group(what);
  command
      .add_option("--repeat-delay", arguments.repeat_delay_s,
                  "Seconds from the end of one to the next (0)")
      ->group(what);
  command
      .add_option("-M", arguments.connection.inflight_messages_max,
                  "QoS 1 and 2 messages that may be unacknowledged at once (20)")
      ->group(what);
  AddConnectionOptions(command, arguments.connection);
}

int Pub(const PubArguments& arguments) {
  absl::StatusOr<Prepared> prepared = PrepareAll(arguments);
  if (!prepared.ok()) {
    std::fprintf(stderr, "Error: %s\n\nUse 'mqttctl pub --help' to see usage.\n",
                 std::string(prepared.status().message()).c_str());
    return kExitFailure;
  }
  return Publisher(arguments, *std::move(prepared)).Run();
}

}  // namespace mqttctl
