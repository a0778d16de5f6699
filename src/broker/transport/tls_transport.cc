#include "broker/transport/tls_transport.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "broker/transport/socket_address.h"

namespace broker {
namespace {

constexpr size_t kRecordBytesMax = 16384;  // §5.1 of RFC 8446.

std::string Take(unsigned char* text, int length) {
  std::string taken(reinterpret_cast<const char*>(text), static_cast<size_t>(length));
  OPENSSL_free(text);
  return taken;
}

// First Common Name; empty if there is none, or one with a NUL in it, a known way to deceive.
std::string CommonName(const X509_NAME* name) {
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const int length =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (length < 0) return {};
  std::string common_name = Take(text, length);
  return common_name.find('\0') == std::string::npos ? common_name : std::string();
}

std::string DistinguishedName(const X509_NAME* name) {
  BIO* const out = BIO_new(BIO_s_mem());
  X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  char* text = nullptr;
  const long length = BIO_get_mem_data(out, &text);
  std::string distinguished_name(text, static_cast<size_t>(length));
  BIO_free(out);
  return distinguished_name;
}

std::string AddressText(const ASN1_OCTET_STRING* address) {
  std::array<char, INET6_ADDRSTRLEN> text = {""};
  const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET || ASN1_STRING_length(address) == 16) {
    inet_ntop(family, ASN1_STRING_get0_data(address), text.data(), text.size());
  }
  return text.data();
}

std::vector<std::string> AlternativeNames(const X509* certificate) {
  std::vector<std::string> names;
  auto* const list = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list); ++i) {
    int type = 0;
    const void* const value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(list, i), &type);
    const auto* const text = static_cast<const ASN1_STRING*>(value);
    if (type == GEN_IPADD) {
      names.push_back("IP:" + AddressText(text));
    } else if (type == GEN_DNS || type == GEN_EMAIL || type == GEN_URI) {
      const char* const kind = type == GEN_DNS ? "DNS:" : type == GEN_EMAIL ? "email:" : "URI:";
      names.push_back(
          std::string(kind).append(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                                   static_cast<size_t>(ASN1_STRING_length(text))));
    }
  }
  GENERAL_NAMES_free(list);
  return names;
}

// Offers the ranges' bytes in pieces of at most one record: whole records straight from where they
// are, smaller ranges gathered in `scratch`.
class RecordCutter {
 public:
  RecordCutter(const std::string_view* ranges, size_t count, char* scratch)
      : ranges_(ranges), count_(count), scratch_(scratch) {}

  // The next bytes, without taking them. Empty at the end.
  std::string_view Peek() const {
    size_t index = index_;
    size_t offset = offset_;
    while (index < count_ && ranges_[index].size() == offset) {
      ++index;
      offset = 0;
    }
    if (index == count_) return {};
    const size_t first = ranges_[index].size() - offset;
    const char* const begin = ranges_[index].data() + offset;
    if (first >= kRecordBytesMax || index + 1 == count_) {
      return {begin, std::min(first, kRecordBytesMax)};
    }
    size_t gathered = 0;
    for (; index < count_ && gathered < kRecordBytesMax; ++index, offset = 0) {
      const size_t size = std::min(ranges_[index].size() - offset, kRecordBytesMax - gathered);
      if (size == 0) continue;  // An empty range may have no address.
      std::memcpy(scratch_ + gathered, ranges_[index].data() + offset, size);
      gathered += size;
    }
    return {scratch_, gathered};
  }

  void Take(size_t bytes) {
    while (bytes > 0) {
      const size_t here = std::min(ranges_[index_].size() - offset_, bytes);
      offset_ += here;
      bytes -= here;
      if (bytes > 0) {
        ++index_;
        offset_ = 0;
      }
    }
  }

 private:
  const std::string_view* ranges_;
  size_t count_;
  char* scratch_;
  size_t index_ = 0;
  size_t offset_ = 0;
};

}  // namespace

// OpenSSL's way to the socket. Its own would raise SIGPIPE, and would ask the kernel for more after
// each short read.
struct TlsSocketBio {
  static int Read(BIO* bio, char* buffer, int size) {
    TlsTransport& transport = *static_cast<TlsTransport*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (transport.socket_drained_) {
      BIO_set_retry_read(bio);
      return -1;
    }
    ssize_t received;
    do {
      received = recv(transport.fd_, buffer, static_cast<size_t>(size), 0);
    } while (received < 0 && errno == EINTR);
    transport.socket_drained_ = received < size;
    if (received == 0) transport.socket_ended_ = true;
    if (received < 0) Failed(transport, bio, BIO_FLAGS_READ);
    return static_cast<int>(received);
  }

  static int Write(BIO* bio, const char* bytes, int size) {
    TlsTransport& transport = *static_cast<TlsTransport*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    ssize_t sent;
    do {
      sent = send(transport.fd_, bytes, static_cast<size_t>(size), MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) Failed(transport, bio, BIO_FLAGS_WRITE);
    return static_cast<int>(sent);
  }

  static long Control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) {
      return static_cast<TlsTransport*>(BIO_get_data(bio))->socket_ended_ ? 1 : 0;
    }
    return 0;
  }

  static void Failed(TlsTransport& transport, BIO* bio, int direction) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      BIO_set_flags(bio, direction | BIO_FLAGS_SHOULD_RETRY);
    } else {
      transport.socket_errno_ = errno;
    }
  }

  static const BIO_METHOD* Method() {
    static const BIO_METHOD* const method = [] {
      BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
      BIO_meth_set_read(made, Read);
      BIO_meth_set_write(made, Write);
      BIO_meth_set_ctrl(made, Control);
      return made;
    }();
    return method;
  }
};

TlsTransport::TlsTransport(int fd, const TlsContext& context, TlsApplication application,
                           ConnectionSlot slot, std::unique_ptr<ProxyStage> proxy)
    : fd_(fd),
      application_(application),
      ssl_(SSL_new(context.native())),
      proxy_(std::move(proxy)),
      slot_(std::move(slot)) {
  BIO* const bio = BIO_new(TlsSocketBio::Method());
  CHECK(ssl_ != nullptr && bio != nullptr) << "out of memory";
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  SSL_set_accept_state(ssl_);
}

TlsTransport::~TlsTransport() {
  SSL_free(ssl_);
  close(fd_);
}

IoState TlsTransport::Translate(int result, const char* doing) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      wants_write_ = false;
      return IoState::kAgain;
    case SSL_ERROR_WANT_WRITE:
      wants_write_ = true;
      return IoState::kAgain;
    case SSL_ERROR_ZERO_RETURN:
      return IoState::kClosed;
    default:
      break;
  }
  failed_ = true;
  wants_write_ = false;
  error_ = std::string("TLS ") + doing + ": ";
  const unsigned long code = ERR_peek_error();
  const long verified = SSL_get_verify_result(ssl_);
  if (code != 0 && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    error_ += std::string("client certificate refused: ") + X509_verify_cert_error_string(verified);
  } else if (code != 0) {
    const char* const reason = ERR_reason_error_string(code);
    error_ += reason != nullptr ? reason : "failed";
  } else if (socket_errno_ != 0) {
    error_ += strerrordesc_np(socket_errno_);
  } else {
    error_ += "connection ended";
  }
  ERR_clear_error();
  return IoState::kError;
}

IoState TlsTransport::DriveHandshake() {
  if (proxy_ != nullptr && !proxy_->done()) {
    const IoState state = proxy_->Drive(fd_);
    if (state == IoState::kError) {
      failed_ = true;
      error_ = proxy_->error();
    }
    if (state != IoState::kOk) return state;
  }
  if (early_peer_ == nullptr) {
    early_peer_ = std::make_unique<PeerInfo>();
    ReadSocketAddresses(fd_, *early_peer_);
  }
  const int result = SSL_do_handshake(ssl_);
  if (result != 1) return Translate(result, "handshake");
  handshake_done_ = true;
  early_peer_.reset();
  wants_write_ = false;
  return IoState::kOk;
}

ReadResult TlsTransport::Read(char* buffer, size_t capacity) {
  buffered_input_ = false;
  socket_drained_ = false;
  if (failed_) return {IoState::kError, 0};
  ERR_clear_error();
  if (!handshake_done_) {
    const IoState state = DriveHandshake();
    if (state != IoState::kOk) return {state, 0};
  }
  wants_write_ = false;
  size_t total = 0;
  while (total < capacity) {
    size_t bytes = 0;
    const int result = SSL_read_ex(ssl_, buffer + total, capacity - total, &bytes);
    if (result == 1) {
      total += bytes;
      continue;
    }
    const IoState state = Translate(result, "read");
    if (total == 0) return {state, 0};
    buffered_input_ = state != IoState::kAgain;  // The next call reports the end.
    return {IoState::kOk, total};
  }
  buffered_input_ = true;
  return {IoState::kOk, total};
}

WriteResult TlsTransport::WriteRecord(const char* bytes, size_t size) {
  size_t written = 0;
  const int result = SSL_write_ex(ssl_, bytes, size, &written);
  record_pending_ = false;
  if (result == 1) return {IoState::kOk, written};
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_WRITE:
      record_pending_ = true;
      return {IoState::kAgain, 0};
    case SSL_ERROR_WANT_READ:
      return {IoState::kAgain, 0};
    default:
      return {Translate(result, "write"), 0};
  }
}

WriteResult TlsTransport::Write(const std::string_view* ranges, size_t count) {
  if (failed_) return {IoState::kError, 0};
  if (closing_) return {IoState::kClosed, 0};
  if (!handshake_done_) return {IoState::kAgain, 0};
  ERR_clear_error();
  thread_local std::array<char, kRecordBytesMax> scratch;
  RecordCutter cutter(ranges, count, scratch.data());
  size_t total = 0;
  for (std::string_view piece = cutter.Peek(); !piece.empty(); piece = cutter.Peek()) {
    const WriteResult written = WriteRecord(piece.data(), piece.size());
    if (written.state != IoState::kOk) return {written.state, total};
    cutter.Take(written.bytes);
    total += written.bytes;
  }
  return {IoState::kOk, total};
}

void TlsTransport::StartClose() {
  if (closing_) return;
  closing_ = true;
  // With half a record sent, or no keys yet, there is no way to say it: the end of stream must do.
  if (handshake_done_ && !failed_ && !record_pending_) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    ERR_clear_error();
  }
  shutdown(fd_, SHUT_WR);
}

PeerInfo TlsTransport::peer() const {
  PeerInfo info;
  if (early_peer_ != nullptr) {
    info = *early_peer_;
  } else {
    ReadSocketAddresses(fd_, info);
  }
  info.tls = true;
  info.tls_version = SSL_get_version(ssl_);
  info.cipher = SSL_get_cipher_name(ssl_);
  const char* const server_name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
  if (server_name != nullptr) info.server_name = server_name;
  // The handshake fails upon a certificate that does not verify; this is the second lock.
  X509* const certificate = SSL_get1_peer_certificate(ssl_);
  if (certificate != nullptr && SSL_get_verify_result(ssl_) == X509_V_OK) {
    const X509_NAME* const subject = X509_get_subject_name(certificate);
    info.certificate_subject_cn = CommonName(subject);
    info.certificate_subject_dn = DistinguishedName(subject);
    info.certificate_sans = AlternativeNames(certificate);
  }
  X509_free(certificate);
  if (proxy_ != nullptr) proxy_->Apply(info);
  return info;
}

}  // namespace broker
