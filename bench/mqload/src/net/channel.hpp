// What lies between MQTT and the socket: TLS, WebSocket, or WebSocket over TLS. A plain connection has no channel.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "net/bytes.hpp"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

namespace mqload {

// Which certificates are believed. One for all connections of a run, so that OpenSSL's tables exist once.
class TlsContext {
 public:
  // caFile: PEM of the authorities; empty: the system's. insecure: any certificate will do.
  TlsContext(const std::string& caFile, bool insecure);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  SSL_CTX* get() const { return context_; }
  bool insecure() const { return insecure_; }

 private:
  SSL_CTX* context_;
  bool insecure_;
};

struct Endpoint {
  std::string host = "127.0.0.1";
  uint16_t port = 1883;
  std::shared_ptr<const TlsContext> tls = {};  // none: not encrypted
  std::string path = {};                       // not empty: WebSocket, and its path
  bool plain() const { return !tls && path.empty(); }
};

// mqtt://HOST:PORT, mqtts://…, ws://HOST:PORT/PATH, wss://…, or HOST:PORT. Fails the program if it is none of these.
// The context is made at the first URL that needs it and shared by the rest.
class EndpointParser {
 public:
  EndpointParser(std::string caFile, bool insecure) : caFile_(std::move(caFile)), insecure_(insecure) {}
  Endpoint parse(const std::string& url);

 private:
  std::string caFile_;
  bool insecure_;
  std::shared_ptr<const TlsContext> tls_;
};

// The client's side of one connection, over a connected non-blocking socket that it does not own.
class Channel {
 public:
  // The endpoint must outlive the channel.
  Channel(const Endpoint& endpoint, int fd);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  enum class Step { Done, Again, Failed };
  // Goes on with the TLS handshake and the WebSocket upgrade, as far as the socket lets it.
  Step open();
  // Like recv(): bytes of MQTT, 0 at the end, -1 with errno. EAGAIN: nothing now.
  ssize_t read(uint8_t* buffer, size_t capacity);
  // Whether read() may have more without the socket becoming readable.
  bool hasBuffered() const;
  // Takes all of out, one WebSocket frame, and writes as far as the socket lets it. False: broken.
  bool write(ByteQueue& out);
  // Something is left that the socket did not take.
  bool wantsWrite() const { return wantsWrite_ || !wire_.empty(); }
  // Says good-bye in the words of each layer, as far as that needs no waiting.
  void close();
  const char* error() const { return error_; }

 private:
  Step handshakeTls();
  Step upgrade();
  ssize_t rawRead(uint8_t* buffer, size_t capacity);
  bool rawFlush();
  // Undoes the framing in place; returns the bytes of MQTT, or -1 when the peer broke the rules.
  ssize_t unframe(uint8_t* buffer, size_t size);
  bool takeHeader(const uint8_t*& p, const uint8_t* end);
  bool endControl();
  void frame(uint8_t opcode, const uint8_t* payload, size_t size);

  enum class Stage : uint8_t { Tls, Upgrade, AwaitUpgrade, Open };
  const Endpoint& endpoint_;
  int fd_;
  SSL* ssl_ = nullptr;
  Stage stage_;
  bool wantsWrite_ = false;   // TLS wants to write before it can go on
  bool peerClosed_ = false;   // a Close frame came
  uint8_t opcode_ = 0;        // of the frame being read
  uint8_t headerSize_ = 0;
  uint8_t header_[10];        // begun and not complete: a server's frames bear no mask
  uint64_t payloadLeft_ = 0;
  uint32_t maskState_;
  std::string control_;       // payload of a Ping or Close, or the answer to the upgrade
  std::string accept_;        // what the server must answer to our key
  ByteQueue wire_;            // framed, not yet taken by the socket
  const char* error_ = "";
};

}  // namespace mqload
