#include "admin/http_session.h"

#include <atomic>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "boost/asio/post.hpp"
#include "boost/asio/write.hpp"
#include "boost/beast/http/chunk_encode.hpp"
#include "boost/beast/http/read.hpp"

namespace admin {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr uint32_t kHeaderBytesMax = 8 * 1024;
// A stream that has nothing to say says so: or nobody would notice that its reader has gone.
constexpr std::chrono::seconds kBeat{15};

std::string ToString(const tcp::endpoint& endpoint) {
  std::ostringstream text;
  text << endpoint;
  return text.str();
}

void LogRefused(const std::string& peer, absl::string_view why) {
  base::LogLimited(base::LogLevel::kInfo, "http request refused", why, {{"address", peer}});
}

bool IsLoopback(const asio::ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
  return address.is_loopback();
}

}  // namespace

// A queue of its own, because Asio's is not one: what a handler posts to its own context is put off
// until the handler has ended, and what another thread posts meanwhile overtakes it.
void HttpMailbox::Post(std::function<void()> task) {
  base::MutexLock lock(mutex_);
  if (context_ == nullptr) return;
  tasks_.push_back(std::move(task));
  if (tasks_.size() > 1) return;
  asio::post(*context_, [self = shared_from_this()] { self->RunAll(); });
}

void HttpMailbox::RunAll() {
  std::vector<std::function<void()>> tasks;
  {
    base::MutexLock lock(mutex_);
    tasks.swap(tasks_);
  }
  for (std::function<void()>& task : tasks) std::exchange(task, nullptr)();
}

void HttpMailbox::Close() {
  std::vector<std::function<void()>> never;
  base::MutexLock lock(mutex_);
  context_ = nullptr;
  never.swap(tasks_);
}

// What it is asked for it has done on the server's thread, if the session is still there.
class HttpSession::Exchange final : public HttpExchange {
 public:
  explicit Exchange(HttpSession& session)
      : session_(session.weak_from_this()), mailbox_(session.server_.mailbox) {}
  ~Exchange() override {
    if (complete_) return;
    Do([](HttpSession& session) { session.Close(); });
  }

  void Respond(std::function<HttpResponse()> make) override {
    complete_ = true;
    Do([make = std::move(make)](HttpSession& session) { session.Respond(make()); });
  }
  void BeginStream(std::string content_type) override {
    Do([content_type](HttpSession& session) { session.BeginStream(content_type); });
  }
  void Write(std::function<std::string()> make, std::function<void(bool)> written) override {
    mailbox_->Post([session = session_, make = std::move(make), written = std::move(written)] {
      const std::shared_ptr<HttpSession> there = session.lock();
      if (there == nullptr || !there->calling_) return written(false);
      there->Write({make(), written});
    });
  }
  void EndStream() override {
    complete_ = true;
    Do([](HttpSession& session) { session.EndStream(); });
  }
  void RunAfter(absl::Duration delay, std::function<void()> task) override {
    Do([delay, task = std::move(task)](HttpSession& session) {
      session.deadline_.expires_after(absl::ToChronoMilliseconds(delay));
      session.deadline_.async_wait([task](ErrorCode error) {
        if (!error) task();
      });
    });
  }
  void OnGone(std::function<void()> gone) override {
    {
      base::MutexLock lock(mutex_);
      if (!gone_) {
        on_gone_ = std::move(gone);
        return;
      }
    }
    gone();
  }
  // Of the session, when it closes.
  void Gone() {
    std::function<void()> gone;
    {
      base::MutexLock lock(mutex_);
      gone_ = true;
      gone = std::move(on_gone_);
    }
    if (gone) gone();
  }

 private:
  void Do(std::function<void(HttpSession&)> what) {
    mailbox_->Post([session = session_, what = std::move(what)] {
      const std::shared_ptr<HttpSession> there = session.lock();
      if (there != nullptr && there->calling_) what(*there);
    });
  }

  const std::weak_ptr<HttpSession> session_;
  const std::shared_ptr<HttpMailbox> mailbox_;
  std::atomic<bool> complete_{false};  // All that is to be said.
  base::Mutex mutex_;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> on_gone_ ABSL_GUARDED_BY(mutex_);
};

HttpSession::HttpSession(tcp::socket socket, const Server& server)
    : stream_(std::move(socket)),
      server_(server),
      timeout_(absl::ToChronoMilliseconds(server.options.request_timeout)),
      buffer_(kHeaderBytesMax * 2),
      deadline_(stream_.get_executor()),
      beat_(stream_.get_executor()) {
  ++server_.connections;
}

HttpSession::~HttpSession() { --server_.connections; }

// ---- A request ----------------------------------------------------------------------------------

void HttpSession::Read() {
  parser_.emplace();
  parser_->header_limit(kHeaderBytesMax);
  parser_->body_limit(server_.options.body_bytes_max);
  stream_.expires_after(timeout_);
  http::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](ErrorCode error, size_t) { self->OnHeader(error); });
}

void HttpSession::Close() {
  const std::shared_ptr<HttpSession> self = std::move(self_);
  stream_.close();
  deadline_.cancel();
  beat_.cancel();
  if (!calling_) return;
  calling_ = false;
  for (const Piece& piece : std::exchange(pieces_, {})) {
    if (piece.written) piece.written(false);
  }
  if (const std::shared_ptr<Exchange> exchange = exchange_.lock()) exchange->Gone();
}

void HttpSession::MakeRoom() {
  ErrorCode ignored;
  LogRefused(ToString(stream_.socket().remote_endpoint(ignored)),
             "http.connections_max connections are open, and this one is idle for longest");
  Close();
}

void HttpSession::OnHeader(ErrorCode error) {
  silent_ = false;
  progress_ = std::chrono::steady_clock::now();
  if (error) return OnReadError(error);
  const HttpRequest request = Describe();
  call_method_ = server_.options.calls != nullptr && server_.options.calls->Takes(request);
  if (call_method_) return BeginCall(request);
  if (HasBody()) return Refuse(413, "a body is not expected");
  Answer(request);
}

void HttpSession::OnReadError(ErrorCode error) {
  if (error == http::error::header_limit) {
    Refuse(431, "the header is too large");
  } else if (error == http::error::body_limit) {
    Refuse(413, "the body is too large");
  } else if (error.category() == http::make_error_code(http::error::bad_method).category() &&
             error != http::error::end_of_stream && error != http::error::partial_message) {
    Refuse(400, "this is not HTTP");
  } else {
    Close();
  }
}

bool HttpSession::HasBody() {
  return parser_->chunked() || parser_->content_length().value_or(0) != 0;
}

HttpRequest HttpSession::Describe() {
  const auto& header = parser_->get();
  const std::string target(header.target());
  const auto field = [&](http::field name) { return std::string(header[name]); };
  HttpRequest request;
  request.head = header.method() == http::verb::head;
  request.path = target.substr(0, target.find('?'));
  request.post = header.method() == http::verb::post;
  ErrorCode error;
  const tcp::endpoint peer = stream_.socket().remote_endpoint(error);
  request.peer = ToString(peer);
  request.loopback = !error && IsLoopback(peer.address());
  request.host = field(http::field::host);
  request.forwarded = header.count(http::field::forwarded) != 0 ||
                      header.count("X-Forwarded-For") != 0 || header.count(http::field::via) != 0;
  request.authorization = field(http::field::authorization);
  request.content_type = field(http::field::content_type);
  return request;
}

void HttpSession::Answer(const HttpRequest& request) {
  const auto& header = parser_->get();
  if (!request.head && header.method() != http::verb::get) {
    Send({405, "text/plain; charset=utf-8", "only GET and HEAD are served\n"}, false,
         header.keep_alive(), header.version());
    return;
  }
  Send(server_.handler(request), request.head, header.keep_alive(), header.version());
}

// A header that is too large was not looked at: it begins the buffer.
HttpRequest HttpSession::DescribeUnread() {
  HttpRequest request = Describe();
  if (!request.path.empty()) return request;
  const absl::string_view read(static_cast<const char*>(buffer_.data().data()), buffer_.size());
  const std::vector<absl::string_view> words =
      absl::StrSplit(read.substr(0, read.find_first_of("\r\n")), ' ');
  if (words.size() < 2) return request;
  request.head = words[0] == "HEAD";
  request.path = std::string(words[1].substr(0, words[1].find('?')));
  return request;
}

void HttpSession::Refuse(int status, absl::string_view why) {
  const HttpRequest request = DescribeUnread();
  LogRefused(request.peer, why);
  const HttpCalls* const calls = server_.options.calls;
  Send(calls != nullptr && calls->Takes(request)
           ? calls->Refuse(status, why)
           : HttpResponse{status, "text/plain; charset=utf-8", absl::StrCat(why, "\n")},
       request.head, /*keep_alive=*/false, 11);
}

void HttpSession::Send(HttpResponse response, bool head, bool keep_alive, unsigned version) {
  response_ = {};
  response_.version(version);
  response_.result(static_cast<unsigned>(response.status));
  response_.set(http::field::content_type, response.content_type);
  response_.set(http::field::cache_control, "no-store");
  if (response.status == 405)
    response_.set(http::field::allow, call_method_ ? "POST" : "GET, HEAD");
  if (response.status == 401) response_.set(http::field::www_authenticate, "Bearer");
  response_.keep_alive(keep_alive);
  response_.content_length(response.body.size());
  if (!head) response_.body() = std::move(response.body);
  stream_.expires_after(timeout_);
  serializer_.emplace(response_);
  serializer_->split(head);  // HEAD: the header with the length that GET would have, nothing else.
  const auto done = [self = shared_from_this(), keep_alive](ErrorCode error, size_t) {
    self->OnWritten(error, keep_alive);
  };
  if (head) {
    http::async_write_header(stream_, *serializer_, done);
  } else {
    http::async_write(stream_, *serializer_, done);
  }
}

void HttpSession::OnWritten(ErrorCode error, bool keep_alive) {
  progress_ = std::chrono::steady_clock::now();
  if (error) {
    Close();
  } else if (keep_alive) {
    ReadNext();
  } else {
    stream_.socket().shutdown(tcp::socket::shutdown_send, error);
    Close();
  }
}

void HttpSession::ReadNext() {
  if (!watching_) return Read();
  read_next_ = true;
  ErrorCode ignored;
  stream_.socket().cancel(ignored);
}

// ---- A call -------------------------------------------------------------------------------------

void HttpSession::BeginCall(const HttpRequest& request) {
  const auto& header = parser_->get();
  HttpResponse answer;
  call_ = server_.options.calls->Begin(request, answer);
  // What is not read of a refused request would be taken for the next one.
  if (call_ == nullptr)
    return Send(std::move(answer), request.head, header.keep_alive() && !HasBody(),
                header.version());
  if (parser_->is_done()) return OnBody({});
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](ErrorCode error, size_t) { self->OnBody(error); });
}

void HttpSession::OnBody(ErrorCode error) {
  const std::unique_ptr<HttpCall> call = std::move(call_);
  progress_ = std::chrono::steady_clock::now();
  if (error) return OnReadError(error);
  stream_.expires_never();
  calling_ = true;
  self_ = shared_from_this();
  keep_alive_ = parser_->get().keep_alive();
  const auto exchange = std::make_shared<Exchange>(*this);
  exchange_ = exchange;
  Watch();
  call->Run(std::move(parser_->get().body()), exchange);
}

void HttpSession::Watch() {
  watching_ = true;
  stream_.socket().async_wait(tcp::socket::wait_read, [self = shared_from_this()](ErrorCode error) {
    self->OnWatched(error);
  });
}

void HttpSession::OnWatched(ErrorCode error) {
  watching_ = false;
  if (std::exchange(read_next_, false)) return Read();
  if (!calling_) return;
  // What can be read is the next request, or that there will be none.
  if (error || stream_.socket().available(error) == 0 || error) Close();
}

void HttpSession::Respond(HttpResponse response) {
  const std::shared_ptr<HttpSession> self = std::move(self_);
  calling_ = false;
  deadline_.cancel();
  Send(std::move(response), false, keep_alive_, parser_->get().version());
}

// ---- A stream -----------------------------------------------------------------------------------

void HttpSession::BeginStream(const std::string& content_type) {
  deadline_.cancel();
  response_ = {};
  response_.version(11);
  response_.result(http::status::ok);
  response_.set(http::field::content_type, content_type);
  response_.set(http::field::cache_control, "no-store");
  response_.keep_alive(false);
  std::ostringstream text;
  response_.chunked(true);
  text << response_.base();
  pieces_.push_back({text.str(), nullptr});
  if (pieces_.size() == 1) WriteNext();
  Beat();
}

void HttpSession::Write(Piece piece) {
  std::ostringstream chunk;
  chunk << std::hex << piece.bytes.size() << "\r\n";
  piece.bytes = absl::StrCat(chunk.str(), piece.bytes, "\r\n");
  pieces_.push_back(std::move(piece));
  if (pieces_.size() == 1) WriteNext();
}

void HttpSession::WriteNext() {
  stream_.expires_after(timeout_);
  asio::async_write(stream_, asio::buffer(pieces_.front().bytes),
                    [self = shared_from_this()](ErrorCode error, size_t) {
                      if (!self->calling_) return;
                      if (error) return self->Close();
                      self->progress_ = std::chrono::steady_clock::now();
                      const Piece done = std::move(self->pieces_.front());
                      self->pieces_.pop_front();
                      if (!self->pieces_.empty()) {
                        self->WriteNext();
                      } else if (self->stream_ends_) {
                        ErrorCode ignored;
                        self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
                        self->Close();
                      } else {
                        self->stream_.expires_never();
                      }
                      if (done.written) done.written(true);
                    });
}

void HttpSession::Beat() {
  beat_.expires_after(kBeat);
  beat_.async_wait([self = shared_from_this()](ErrorCode error) {
    if (error || !self->calling_) return;
    if (self->pieces_.empty()) self->Write({":\n\n", nullptr});
    self->Beat();
  });
}

void HttpSession::EndStream() {
  stream_ends_ = true;
  pieces_.push_back({"0\r\n\r\n", nullptr});
  if (pieces_.size() == 1) WriteNext();
}

}  // namespace admin
