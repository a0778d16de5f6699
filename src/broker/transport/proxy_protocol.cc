#include "broker/transport/proxy_protocol.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

namespace broker {
namespace {

using State = ProxyParseResult::State;

constexpr std::string_view kTextSignature = "PROXY ";
constexpr size_t kTextBytesMax = 107;
constexpr std::string_view kBinarySignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kBinaryStartBytes = 16;  // Signature, version and command, family, length.

constexpr size_t kIpv4AddressesBytes = 12;
constexpr size_t kIpv6AddressesBytes = 36;
constexpr size_t kUnixPathBytes = 108;

// Types of version 2's additional fields.
constexpr uint8_t kTypeAuthority = 0x02;
constexpr uint8_t kTypeCrc32c = 0x03;
constexpr uint8_t kTypeTls = 0x20;
constexpr uint8_t kTypeTlsVersion = 0x21;
constexpr uint8_t kTypeTlsCommonName = 0x22;
constexpr uint8_t kTypeTlsCipher = 0x23;

constexpr uint8_t kTlsUsed = 0x01;
constexpr uint8_t kTlsCertificate = 0x02 | 0x04;  // In this connection, or earlier in the session.

ProxyParseResult Invalid(std::string_view error) { return {State::kInvalid, 0, error}; }

uint8_t ByteAt(std::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

uint16_t Uint16At(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>(ByteAt(bytes, at) << 8 | ByteAt(bytes, at + 1));
}

uint32_t Uint32At(std::string_view bytes, size_t at) {
  return static_cast<uint32_t>(Uint16At(bytes, at)) << 16 | Uint16At(bytes, at + 2);
}

// The address in its usual form; nullopt if it is none of this family.
std::optional<std::string> NormalAddress(int family, std::string_view text) {
  std::array<unsigned char, sizeof(in6_addr)> address;
  std::array<char, INET6_ADDRSTRLEN> normal;
  if (inet_pton(family, std::string(text).c_str(), address.data()) != 1) return std::nullopt;
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  return inet_ntop(family, address.data(), normal.data(), normal.size());
}

std::string BinaryAddress(int family, std::string_view bytes) {
  std::array<char, INET6_ADDRSTRLEN> text;
  return inet_ntop(family, bytes.data(), text.data(), text.size());
}

std::optional<uint16_t> Port(std::string_view text) {
  uint16_t port = 0;
  if (text.size() > 1 && text[0] == '0') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// The part before the next space, and the space, are taken off `rest`.
std::string_view NextWord(std::string_view& rest) {
  const size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

ProxyParseResult ParseText(std::string_view bytes, ProxyHeader& header) {
  const std::string_view window = bytes.substr(0, kTextBytesMax);
  const size_t end = window.find("\r\n");
  if (end == std::string_view::npos) {
    if (bytes.size() >= kTextBytesMax) return Invalid("PROXY header: version 1, no end of line");
    return {};
  }
  const ProxyParseResult done = {State::kDone, end + 2, {}};
  std::string_view rest = window.substr(kTextSignature.size(), end - kTextSignature.size());
  const std::string_view family_word = NextWord(rest);
  if (family_word == "UNKNOWN") {  // What follows is to be ignored.
    header = {};
    return done;
  }
  if (family_word != "TCP4" && family_word != "TCP6") {
    return Invalid("PROXY header: version 1, neither TCP4, TCP6 nor UNKNOWN");
  }
  const int family = family_word == "TCP4" ? AF_INET : AF_INET6;
  const std::optional<std::string> source = NormalAddress(family, NextWord(rest));
  const std::optional<std::string> destination = NormalAddress(family, NextWord(rest));
  if (!source || !destination) return Invalid("PROXY header: version 1, malformed address");
  const std::optional<uint16_t> source_port = Port(NextWord(rest));
  const std::optional<uint16_t> destination_port = Port(rest);
  if (!source_port || !destination_port) return Invalid("PROXY header: version 1, malformed port");
  header = {};
  header.family = ProxyHeader::Family::kInternet;
  header.source_address = *source;
  header.destination_address = *destination;
  header.source_port = *source_port;
  header.destination_port = *destination_port;
  return done;
}

// CRC-32C of `bytes`, the four bytes at `hole` taken as zero.
uint32_t Crc32c(std::string_view bytes, size_t hole) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i < hole || i >= hole + 4) crc ^= ByteAt(bytes, i);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
  }
  return ~crc;
}

struct Field {
  uint8_t type;
  std::string_view value;
};

// Takes one type-length-value field off `rest`; nullopt if it is longer than `rest`.
std::optional<Field> NextField(std::string_view& rest) {
  constexpr size_t kStartBytes = 3;
  if (rest.size() < kStartBytes) return std::nullopt;
  const size_t length = Uint16At(rest, 1);
  if (rest.size() - kStartBytes < length) return std::nullopt;
  const Field field = {ByteAt(rest, 0), rest.substr(kStartBytes, length)};
  rest.remove_prefix(kStartBytes + length);
  return field;
}

bool ParseTlsField(std::string_view value, ProxyHeader& header) {
  constexpr size_t kStartBytes = 5;  // Client bits, verify result.
  if (value.size() < kStartBytes) return false;
  const uint8_t client = ByteAt(value, 0);
  const bool verified = Uint32At(value, 1) == 0 && (client & kTlsCertificate) != 0;
  header.tls = (client & kTlsUsed) != 0;
  std::string_view rest = value.substr(kStartBytes);
  while (!rest.empty()) {
    const std::optional<Field> field = NextField(rest);
    if (!field) return false;
    if (field->type == kTypeTlsVersion) header.tls_version = field->value;
    if (field->type == kTypeTlsCipher) header.cipher = field->value;
    if (field->type == kTypeTlsCommonName && verified) {
      header.certificate_subject_cn = field->value;
    }
  }
  return true;
}

// The fields behind the addresses, from `begin` to the end of `bytes`, the whole header.
std::string_view ParseFields(std::string_view bytes, size_t begin, ProxyHeader& header) {
  std::string_view rest = bytes.substr(begin);
  while (!rest.empty()) {
    const std::optional<Field> field = NextField(rest);
    if (!field) return "PROXY header: version 2, a field is longer than the header";
    if (field->type == kTypeAuthority) header.authority = field->value;
    if (field->type == kTypeTls && !ParseTlsField(field->value, header)) {
      return "PROXY header: version 2, malformed TLS field";
    }
    if (field->type == kTypeCrc32c) {
      const size_t at = bytes.size() - rest.size() - field->value.size();
      if (field->value.size() != 4 || Uint32At(field->value, 0) != Crc32c(bytes, at)) {
        return "PROXY header: version 2, wrong checksum";
      }
    }
  }
  return {};
}

void ReadInternetAddresses(int family, std::string_view block, ProxyHeader& header) {
  const size_t bytes = family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
  header.family = ProxyHeader::Family::kInternet;
  header.source_address = BinaryAddress(family, block.substr(0, bytes));
  header.destination_address = BinaryAddress(family, block.substr(bytes, bytes));
  header.source_port = Uint16At(block, 2 * bytes);
  header.destination_port = Uint16At(block, 2 * bytes + 2);
}

std::string UnixPath(std::string_view field) {
  return std::string(field.substr(0, field.find('\0')));
}

// The addresses at the beginning of `block`. Returns their length; nullopt if the family is none we
// know or `block` is too short.
std::optional<size_t> ParseAddresses(uint8_t family_and_protocol, std::string_view block,
                                     ProxyHeader& header) {
  switch (family_and_protocol) {
    case 0x00:  // UNSPEC
      return 0;
    case 0x11:  // TCP over IPv4
      if (block.size() < kIpv4AddressesBytes) return std::nullopt;
      ReadInternetAddresses(AF_INET, block, header);
      return kIpv4AddressesBytes;
    case 0x21:  // TCP over IPv6
      if (block.size() < kIpv6AddressesBytes) return std::nullopt;
      ReadInternetAddresses(AF_INET6, block, header);
      return kIpv6AddressesBytes;
    case 0x31:  // UNIX stream
      if (block.size() < 2 * kUnixPathBytes) return std::nullopt;
      header.family = ProxyHeader::Family::kUnix;
      header.source_address = UnixPath(block.substr(0, kUnixPathBytes));
      header.destination_address = UnixPath(block.substr(kUnixPathBytes, kUnixPathBytes));
      return 2 * kUnixPathBytes;
    default:
      return std::nullopt;
  }
}

ProxyParseResult ParseBinary(std::string_view bytes, ProxyHeader& header) {
  constexpr uint8_t kVersionLocal = 0x20;
  constexpr uint8_t kVersionProxy = 0x21;
  if (bytes.size() <= kBinarySignature.size()) return {};
  const uint8_t version_and_command = ByteAt(bytes, kBinarySignature.size());
  if (version_and_command != kVersionLocal && version_and_command != kVersionProxy) {
    return Invalid("PROXY header: version 2, unknown version or command");
  }
  if (bytes.size() < kBinaryStartBytes) return {};
  const size_t length = kBinaryStartBytes + Uint16At(bytes, kBinaryStartBytes - 2);
  if (length > kProxyHeaderBytesMax) return Invalid("PROXY header: version 2, longer than 4 KiB");
  if (bytes.size() < length) return {};

  ProxyHeader parsed;
  if (version_and_command == kVersionProxy) {
    const std::string_view whole = bytes.substr(0, length);
    const std::optional<size_t> addresses =
        ParseAddresses(ByteAt(whole, 13), whole.substr(kBinaryStartBytes), parsed);
    if (!addresses) {
      return Invalid("PROXY header: version 2, addresses cut short or not of a stream");
    }
    const std::string_view error = ParseFields(whole, kBinaryStartBytes + *addresses, parsed);
    if (!error.empty()) return Invalid(error);
  }
  header = std::move(parsed);
  return {State::kDone, length, {}};
}

bool BeginsLike(std::string_view bytes, std::string_view signature) {
  const size_t common = std::min(bytes.size(), signature.size());
  return bytes.substr(0, common) == signature.substr(0, common);
}

// What was peeked at is all there will ever be.
bool PeerEnded(int fd) {
  pollfd watched = {fd, POLLRDHUP, 0};
  return poll(&watched, 1, 0) == 1;
}

}  // namespace

ProxyParseResult ParseProxyHeader(std::string_view bytes, ProxyHeader& header) {
  if (BeginsLike(bytes, kBinarySignature)) return ParseBinary(bytes, header);
  if (!BeginsLike(bytes, kTextSignature)) {
    return Invalid("PROXY header: the connection does not begin with one");
  }
  if (bytes.size() < kTextSignature.size()) return {};
  return ParseText(bytes, header);
}

IoState ProxyStage::Drive(int fd) {
  if (done_) return IoState::kOk;
  if (!error_.empty()) return IoState::kError;
  std::array<char, kProxyHeaderBytesMax> peeked;
  ssize_t received;
  do {
    received = recv(fd, peeked.data(), peeked.size(), MSG_PEEK);
  } while (received < 0 && errno == EINTR);
  if (received == 0) return IoState::kClosed;
  if (received < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return IoState::kAgain;
    error_ = strerrordesc_np(errno);
    return IoState::kError;
  }
  const std::string_view bytes(peeked.data(), static_cast<size_t>(received));
  const ProxyParseResult result = ParseProxyHeader(bytes, header_);
  if (result.state == State::kNeedMore) return PeerEnded(fd) ? IoState::kClosed : IoState::kAgain;
  if (result.state == State::kInvalid) {
    error_ = result.error;
    return IoState::kError;
  }
  // They are in the kernel's buffer, so that all of them come at once.
  if (recv(fd, peeked.data(), result.bytes, 0) != static_cast<ssize_t>(result.bytes)) {
    error_ = "PROXY header: cannot be taken off the socket";
    return IoState::kError;
  }
  done_ = true;
  return IoState::kOk;
}

void ProxyStage::Apply(PeerInfo& info) const {
  if (header_.family != ProxyHeader::Family::kNone) {
    const bool internet = header_.family == ProxyHeader::Family::kInternet;
    info.proxied = true;
    info.address = internet ? header_.source_address : "unix";
    info.port = header_.source_port;
    info.local_address = header_.destination_address;
    info.local_port = header_.destination_port;
  }
  if (!header_.authority.empty()) info.server_name = header_.authority;
  if (header_.tls && !info.tls) {
    info.tls = true;
    info.tls_version = header_.tls_version;
    info.cipher = header_.cipher;
    info.certificate_subject_cn = header_.certificate_subject_cn;
  }
}

}  // namespace broker
