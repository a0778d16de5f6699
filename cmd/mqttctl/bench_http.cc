// mqttctl bench http: GET at a rate, on connections that stay.
#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench.h"
#include "histogram.h"
#include "http_get.h"
#include "picture.h"

namespace mqttctl {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

auto Into(error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

class HttpLoad {
 public:
  HttpLoad(const HttpBenchArguments& arguments, HttpTarget target)
      : arguments_(arguments),
        target_(std::move(target)),
        begun_(Clock::now()),
        picture_(arguments.quiet) {}

  int Run() {
    until_ = begun_ + std::chrono::duration_cast<Clock::duration>(
                          std::chrono::duration<double>(arguments_.seconds));
    for (size_t i = 0; i < arguments_.connections; ++i) {
      asio::co_spawn(io_, Connection(i), asio::detached);
    }
    asio::co_spawn(io_, Watch(), asio::detached);
    io_.run();
    picture_.Clear();
    arguments_.json ? PrintJson() : PrintText();
    const bool well = failed_ == 0 && statuses_.size() == 1 && statuses_.begin()->first < 400;
    return well ? kExitOk : kExitFailure;
  }

 private:
  asio::awaitable<void> Connection(size_t number) {
    const auto interval = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
        arguments_.rate > 0 ? static_cast<double>(arguments_.connections) / arguments_.rate : 0));
    auto due = begun_ + interval * static_cast<int64_t>(number) /
                            static_cast<int64_t>(arguments_.connections);
    asio::steady_timer timer(io_);
    boost::beast::tcp_stream stream(io_);
    boost::beast::flat_buffer buffer;
    error_code error;
    while (Clock::now() < until_) {
      if (arguments_.rate <= 0) due = Clock::now();
      if (due >= until_) break;
      timer.expires_at(due);
      co_await timer.async_wait(Into(error));
      if (!stream.socket().is_open()) {
        error = co_await Connect(stream);
        buffer.clear();
      }
      if (!error) error = co_await Get(stream, buffer, due);
      if (error) {
        Failed(error == boost::beast::error::timeout
                   ? absl::StrCat("no answer within ", arguments_.timeout_s, " s")
                   : error.message());
        stream.close();
      }
      due += interval;
    }
    ++ended_;
  }

  void ExpireLater(boost::beast::tcp_stream& stream) const {
    stream.expires_after(std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(arguments_.timeout_s)));
  }

  asio::awaitable<error_code> Connect(boost::beast::tcp_stream& stream) {
    error_code error;
    tcp::resolver resolver(io_);
    const auto found = co_await resolver.async_resolve(target_.host, target_.port, Into(error));
    ExpireLater(stream);
    if (!error) co_await stream.async_connect(found, Into(error));
    if (!error) stream.socket().set_option(tcp::no_delay(true), error);
    co_return error;
  }

  asio::awaitable<error_code> Get(boost::beast::tcp_stream& stream,
                                  boost::beast::flat_buffer& buffer, Clock::time_point due) {
    http::request<http::empty_body> request(http::verb::get, target_.path, 11);
    request.set(http::field::host, target_.host);
    error_code error;
    ExpireLater(stream);
    co_await http::async_write(stream, request, Into(error));
    if (error) co_return error;
    http::response_parser<http::string_body> parser;
    parser.body_limit(uint64_t{1} << 30);
    co_await http::async_read(stream, buffer, parser, Into(error));
    if (error) co_return error;
    times_.Record(Clock::now() - due);
    bytes_ += parser.get().body().size();
    ++statuses_[parser.get().result_int()];
    if (!parser.keep_alive()) stream.close();
    co_return error_code();
  }

  asio::awaitable<void> Watch() {
    asio::steady_timer timer(io_);
    error_code error;
    uint64_t last = 0;
    const auto step = std::chrono::milliseconds(picture_.is_terminal() ? 200 : 1000);
    while (ended_ < arguments_.connections) {
      timer.expires_after(std::min<Clock::duration>(
          step, std::max<Clock::duration>(until_ - Clock::now(), std::chrono::milliseconds(10))));
      co_await timer.async_wait(Into(error));
      const double elapsed = std::chrono::duration<double>(Clock::now() - begun_).count();
      if (elapsed >= arguments_.seconds) continue;
      const uint64_t count = times_.count();
      const double rate =
          static_cast<double>(count - last) / std::chrono::duration<double>(step).count();
      last = count;
      picture_.Show(
          {absl::StrFormat("GET  %s  %.1f of %.1f s", Picture::Bar(elapsed / arguments_.seconds),
                           elapsed, arguments_.seconds),
           absl::StrFormat("%s/s  %s in all, %s failed", Grouped(rate),
                           Grouped(static_cast<double>(count)),
                           Grouped(static_cast<double>(failed_))),
           absl::StrFormat("p50 %s  p99 %s  max %s", Milliseconds(times_.QuantileMs(0.5)),
                           Milliseconds(times_.QuantileMs(0.99)), Milliseconds(times_.max_ms()))});
    }
  }

  void Failed(std::string words) {
    if (failed_++ == 0) first_failure_ = std::move(words);
  }

  void PrintJson() const {
    Json statuses = Json::object();
    for (const auto& [status, count] : statuses_) statuses[std::to_string(status)] = count;
    const Json json = {{"url", arguments_.url},
                       {"connections", arguments_.connections},
                       {"rate_wanted_per_s", arguments_.rate},
                       {"requests", times_.count()},
                       {"requests_per_s", static_cast<double>(times_.count()) / arguments_.seconds},
                       {"body_bytes", bytes_},
                       {"statuses", statuses},
                       {"failed", failed_},
                       {"first_failure", first_failure_},
                       {"p50_ms", times_.QuantileMs(0.5)},
                       {"p90_ms", times_.QuantileMs(0.9)},
                       {"p99_ms", times_.QuantileMs(0.99)},
                       {"p99.9_ms", times_.QuantileMs(0.999)},
                       {"max_ms", times_.max_ms()}};
    std::printf("%s\n", json.dump(2).c_str());
  }

  void PrintText() const {
    std::printf("requests %s   %s/s\n", Grouped(static_cast<double>(times_.count())).c_str(),
                Grouped(static_cast<double>(times_.count()) / arguments_.seconds).c_str());
    for (const auto& [status, count] : statuses_) {
      std::printf("status %u %s\n", status, Grouped(static_cast<double>(count)).c_str());
    }
    std::printf(
        "times    p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\n",
        Milliseconds(times_.QuantileMs(0.5)).c_str(), Milliseconds(times_.QuantileMs(0.9)).c_str(),
        Milliseconds(times_.QuantileMs(0.99)).c_str(),
        Milliseconds(times_.QuantileMs(0.999)).c_str(), Milliseconds(times_.max_ms()).c_str());
    if (failed_ > 0) {
      std::printf("%s failed; the first: %s\n", Grouped(static_cast<double>(failed_)).c_str(),
                  first_failure_.c_str());
    }
  }

  const HttpBenchArguments& arguments_;
  const HttpTarget target_;
  const Clock::time_point begun_;
  Clock::time_point until_;
  Picture picture_;
  asio::io_context io_{1};
  Histogram times_;
  std::map<unsigned, uint64_t> statuses_;
  uint64_t bytes_ = 0;
  uint64_t failed_ = 0;
  std::string first_failure_;
  size_t ended_ = 0;
};

}  // namespace

void AddHttpBenchOptions(CLI::App& command, HttpBenchArguments& arguments) {
  command.add_option("url", arguments.url, "Address (http://127.0.0.1:9883/healthz)");
  command.add_option("--connections", arguments.connections, "Connections that stay (4)")
      ->check(CLI::Range(1, 65'535));
  command
      .add_option("--rate", arguments.rate,
                  "Requests per second of all (100); 0: one after another")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--seconds", arguments.seconds, "How long (10)")->check(CLI::PositiveNumber);
  command.add_option("--timeout", arguments.timeout_s, "Seconds until an answer (10)")
      ->check(CLI::Range(0.001, 86'400.0));
  command.add_flag("--json", arguments.json, "The result as JSON");
  command.add_flag("--quiet", arguments.quiet, "Nothing while it runs");
}

int HttpBench(const HttpBenchArguments& arguments) {
  absl::StatusOr<HttpTarget> target = ParseHttpTarget(arguments.url);
  if (!target.ok()) {
    std::fprintf(stderr, "Error: %s\n", std::string(target.status().message()).c_str());
    return kExitFailure;
  }
  return HttpLoad(arguments, *std::move(target)).Run();
}

}  // namespace mqttctl
