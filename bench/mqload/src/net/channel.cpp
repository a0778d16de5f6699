#include "net/channel.hpp"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "util/args.hpp"

namespace mqload {

namespace {

constexpr size_t kUpgradeAnswerMax = 8192;
constexpr uint8_t kContinuation = 0, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;

std::string base64(const uint8_t* bytes, size_t size) {
  std::string out(4 * ((size + 2) / 3) + 1, '\0');
  out.resize(size_t(EVP_EncodeBlock(reinterpret_cast<uint8_t*>(out.data()), bytes, int(size))));
  return out;
}

std::string acceptFor(const std::string& key) {
  std::string text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr);
  return base64(digest, size);
}

// Value of a header of an HTTP answer, empty if it has none.
std::string headerValue(const std::string& answer, const std::string& name) {
  size_t at = answer.find("\r\n");
  while (at != std::string::npos && at + 2 < answer.size()) {
    size_t start = at + 2, end = answer.find("\r\n", start);
    if (end == std::string::npos) break;
    if (end - start > name.size() && answer[start + name.size()] == ':' &&
        strncasecmp(answer.data() + start, name.data(), name.size()) == 0) {
      size_t from = answer.find_first_not_of(" \t", start + name.size() + 1);
      return from < end ? answer.substr(from, end - from) : std::string();
    }
    at = end;
  }
  return {};
}

// Exclusive or with the mask, eight bytes at a time.
void applyMask(uint8_t* out, const uint8_t* in, size_t size, const uint8_t mask[4]) {
  uint64_t wide;
  memcpy(&wide, mask, 4);
  memcpy(reinterpret_cast<uint8_t*>(&wide) + 4, mask, 4);
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word;
    memcpy(&word, in + i, 8);
    word ^= wide;
    memcpy(out + i, &word, 8);
  }
  for (; i < size; ++i) out[i] = in[i] ^ mask[i & 3];
}

}  // namespace

TlsContext::TlsContext(const std::string& caFile, bool insecure) : context_(SSL_CTX_new(TLS_client_method())), insecure_(insecure) {
  if (!context_) fail("OpenSSL cannot make a context");
  SSL_CTX_set_min_proto_version(context_, TLS1_2_VERSION);
  // Buffers only while they are in use: ten thousand idle connections must fit beside the broker.
  SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(context_, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (insecure) return;
  int loaded = caFile.empty() ? SSL_CTX_set_default_verify_paths(context_) : SSL_CTX_load_verify_file(context_, caFile.c_str());
  if (loaded != 1) fail("cannot read certificates from " + (caFile.empty() ? "the system's directory" : caFile));
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Endpoint EndpointParser::parse(const std::string& url) {
  Endpoint endpoint;
  std::string scheme = "mqtt", rest = url;
  if (size_t at = url.find("://"); at != std::string::npos) {
    scheme = url.substr(0, at);
    rest = url.substr(at + 3);
  }
  bool webSocket = scheme == "ws" || scheme == "wss", encrypted = scheme == "mqtts" || scheme == "wss";
  if (!webSocket && !encrypted && scheme != "mqtt") fail("'" + url + "': the scheme must be mqtt, mqtts, ws or wss");
  if (size_t slash = rest.find('/'); slash != std::string::npos) {
    if (webSocket) endpoint.path = rest.substr(slash);
    else if (slash + 1 != rest.size()) fail("'" + url + "': only WebSocket has a path");
    rest.erase(slash);
  }
  if (webSocket && endpoint.path.empty()) endpoint.path = "/mqtt";
  endpoint.port = webSocket ? (encrypted ? 443 : 80) : encrypted ? 8883 : 1883;
  if (size_t colon = rest.rfind(':'); colon != std::string::npos) {
    endpoint.port = uint16_t(atoi(rest.c_str() + colon + 1));
    rest.erase(colon);
  }
  if (rest.empty() || !endpoint.port) fail("'" + url + "' is no URL of a broker: SCHEME://HOST:PORT");
  endpoint.host = rest;
  if (encrypted) {
    if (!tls_) tls_ = std::make_shared<const TlsContext>(caFile_, insecure_);
    endpoint.tls = tls_;
  }
  return endpoint;
}

Channel::Channel(const Endpoint& endpoint, int fd)
    : endpoint_(endpoint), fd_(fd), stage_(endpoint.tls ? Stage::Tls : Stage::Upgrade), maskState_(uint32_t(fd) * 2654435761u | 1) {
  if (!endpoint.tls) return;
  ssl_ = SSL_new(endpoint.tls->get());
  if (!ssl_ || SSL_set_fd(ssl_, fd) != 1) fail("OpenSSL cannot make a connection");
  if (!endpoint.tls->insecure()) {
    X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl_);
    // An address is compared with the certificate's addresses, a name with its names.
    if (X509_VERIFY_PARAM_set1_ip_asc(wanted, endpoint.host.c_str()) != 1) {
      X509_VERIFY_PARAM_set1_host(wanted, endpoint.host.c_str(), 0);
      SSL_set_tlsext_host_name(ssl_, endpoint.host.c_str());
    }
  }
  SSL_set_connect_state(ssl_);
}

Channel::~Channel() {
  if (ssl_) SSL_free(ssl_);
}

Channel::Step Channel::handshakeTls() {
  ERR_clear_error();
  int result = SSL_do_handshake(ssl_);
  wantsWrite_ = false;
  if (result == 1) {
    stage_ = endpoint_.path.empty() ? Stage::Open : Stage::Upgrade;
    return Step::Done;
  }
  int why = SSL_get_error(ssl_, result);
  wantsWrite_ = why == SSL_ERROR_WANT_WRITE;
  if (wantsWrite_ || why == SSL_ERROR_WANT_READ) return Step::Again;
  long verified = SSL_get_verify_result(ssl_);
  error_ = verified != X509_V_OK ? X509_verify_cert_error_string(verified) : "TLS handshake failed";
  return Step::Failed;
}

Channel::Step Channel::upgrade() {
  if (stage_ == Stage::Upgrade) {
    uint8_t random[16];
    RAND_bytes(random, sizeof random);
    std::string key = base64(random, sizeof random);
    accept_ = acceptFor(key);
    std::string request = "GET " + endpoint_.path + " HTTP/1.1\r\nHost: " + endpoint_.host + ":" + std::to_string(endpoint_.port) +
                          "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + key +
                          "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    wire_.append(request.data(), request.size());
    stage_ = Stage::AwaitUpgrade;
  }
  error_ = "closed during the WebSocket upgrade";
  if (!rawFlush()) return Step::Failed;
  // Byte by byte: what follows the answer belongs to MQTT. It is 150 bytes, once for a connection.
  while (control_.size() < 4 || control_.compare(control_.size() - 4, 4, "\r\n\r\n") != 0) {
    uint8_t byte;
    ssize_t n = rawRead(&byte, 1);
    if (n < 0 && errno == EAGAIN) return Step::Again;
    if (n <= 0 || control_.size() >= kUpgradeAnswerMax) return Step::Failed;
    control_.push_back(char(byte));
  }
  bool accepted = control_.compare(0, 12, "HTTP/1.1 101") == 0 && headerValue(control_, "Sec-WebSocket-Accept") == accept_ &&
                  headerValue(control_, "Sec-WebSocket-Protocol") == "mqtt";
  if (!accepted) {
    error_ = "WebSocket upgrade refused";
    return Step::Failed;
  }
  error_ = "";
  control_ = {};
  accept_ = {};
  wire_.release();
  stage_ = Stage::Open;
  return Step::Done;
}

Channel::Step Channel::open() {
  if (stage_ == Stage::Tls) {
    Step step = handshakeTls();
    if (step != Step::Done) return step;
  }
  return stage_ == Stage::Open ? Step::Done : upgrade();
}

ssize_t Channel::rawRead(uint8_t* buffer, size_t capacity) {
  if (!ssl_) return recv(fd_, buffer, capacity, 0);
  size_t total = 0;
  while (total < capacity) {
    ERR_clear_error();
    int n = SSL_read(ssl_, buffer + total, int(std::min<size_t>(capacity - total, 1u << 30)));
    if (n > 0) {
      total += size_t(n);
      continue;
    }
    if (total) break;  // what ended it comes again at the next call
    int why = SSL_get_error(ssl_, n);
    if (why == SSL_ERROR_ZERO_RETURN) return 0;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
      errno = EAGAIN;
    } else if (why != SSL_ERROR_SYSCALL || errno == 0) {
      return 0;  // no good-bye, but the end
    }
    return -1;
  }
  return ssize_t(total);
}

bool Channel::rawFlush() {
  wantsWrite_ = false;
  while (!wire_.empty()) {
    ssize_t n;
    if (ssl_) {
      ERR_clear_error();
      n = SSL_write(ssl_, wire_.data(), int(std::min<size_t>(wire_.size(), 1u << 30)));
      if (n <= 0) {
        int why = SSL_get_error(ssl_, int(n));
        wantsWrite_ = why == SSL_ERROR_WANT_WRITE;
        return wantsWrite_ || why == SSL_ERROR_WANT_READ;
      }
    } else {
      n = ::send(fd_, wire_.data(), wire_.size(), MSG_NOSIGNAL);
      if (n < 0) {
        if (errno == EINTR) continue;
        wantsWrite_ = errno == EAGAIN;
        return wantsWrite_;
      }
    }
    wire_.consume(size_t(n));
  }
  return true;
}

bool Channel::hasBuffered() const { return ssl_ && SSL_has_pending(ssl_); }

ssize_t Channel::read(uint8_t* buffer, size_t capacity) {
  ssize_t n = rawRead(buffer, capacity);
  if (n <= 0 || endpoint_.path.empty()) return n;
  ssize_t bytes = unframe(buffer, size_t(n));
  if (bytes > 0) return bytes;
  if (bytes < 0 || peerClosed_) return 0;
  errno = EAGAIN;  // headers and Pings only
  return -1;
}

// Completes a frame's header from p; false: it needs more bytes.
bool Channel::takeHeader(const uint8_t*& p, const uint8_t* end) {
  size_t needed = 2;
  while (p < end) {
    header_[headerSize_++] = *p++;
    if (headerSize_ >= 2) {
      uint8_t length = header_[1] & 127;
      needed = length == 126 ? 4 : length == 127 ? 10 : 2;
    }
    if (headerSize_ == needed) {
      payloadLeft_ = header_[1] & 127;
      if (needed > 2) {
        payloadLeft_ = 0;
        for (size_t i = 2; i < needed; ++i) payloadLeft_ = payloadLeft_ << 8 | header_[i];
      }
      opcode_ = header_[0] & 15;
      return true;
    }
  }
  return false;
}

bool Channel::endControl() {
  if (opcode_ == kPing) frame(kPong, reinterpret_cast<const uint8_t*>(control_.data()), control_.size());
  if (opcode_ == kClose) peerClosed_ = true;
  control_.clear();
  return rawFlush();
}

ssize_t Channel::unframe(uint8_t* buffer, size_t size) {
  const uint8_t *p = buffer, *end = buffer + size;
  uint8_t* out = buffer;  // never beyond p: a header only shortens
  while (p < end) {
    if (payloadLeft_ == 0) {
      if (!takeHeader(p, end)) break;
      headerSize_ = 0;
      bool known = opcode_ == kContinuation || opcode_ == kBinary || opcode_ == kClose || opcode_ == kPing || opcode_ == kPong;
      if (!known || (header_[1] & 128) || (opcode_ >= kClose && payloadLeft_ > 125)) {
        error_ = "malformed WebSocket frame";
        return -1;
      }
    }
    size_t part = size_t(std::min<uint64_t>(payloadLeft_, uint64_t(end - p)));
    if (opcode_ < kClose) {
      memmove(out, p, part);
      out += part;
    } else {
      control_.append(reinterpret_cast<const char*>(p), part);
    }
    p += part;
    payloadLeft_ -= part;
    if (payloadLeft_ == 0 && opcode_ >= kClose && !endControl()) return -1;
  }
  return out - buffer;
}

void Channel::frame(uint8_t opcode, const uint8_t* payload, size_t size) {
  uint8_t* start = wire_.reserve(size + 14);
  uint8_t* out = start;
  *out++ = 0x80 | opcode;
  if (size < 126) {
    *out++ = uint8_t(0x80 | size);
  } else if (size < 65536) {
    *out++ = 0x80 | 126;
    *out++ = uint8_t(size >> 8);
    *out++ = uint8_t(size);
  } else {
    *out++ = 0x80 | 127;
    for (int shift = 56; shift >= 0; shift -= 8) *out++ = uint8_t(uint64_t(size) >> shift);
  }
  // The mask guards proxies against scripts in browsers; here it only has to differ.
  maskState_ = maskState_ * 1664525u + 1013904223u;
  memcpy(out, &maskState_, 4);
  const uint8_t* mask = out;
  out += 4;
  applyMask(out, payload, size, mask);
  wire_.commit(size_t(out - start) + size);
}

bool Channel::write(ByteQueue& out) {
  if (!out.empty()) {
    if (!endpoint_.path.empty()) {
      frame(kBinary, out.data(), out.size());
      out.consume(out.size());
    } else if (wire_.empty()) {
      wire_.swap(out);
    } else {
      wire_.append(out.data(), out.size());
      out.consume(out.size());
    }
  }
  return rawFlush();
}

void Channel::close() {
  if (stage_ != Stage::Open) return;
  if (!endpoint_.path.empty() && !peerClosed_) frame(kClose, nullptr, 0);
  if (rawFlush() && wire_.empty() && ssl_) SSL_shutdown(ssl_);
}

}  // namespace mqload
