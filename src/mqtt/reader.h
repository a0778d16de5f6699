// Inside src/mqtt: takes the data representations of §1.5 off the front of a packet's body.
#ifndef MQTT_READER_H_
#define MQTT_READER_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "mqtt/ascii_scan.h"
#include "mqtt/types.h"
#include "mqtt/utf8.h"

namespace mqtt {

// The rule's name in either version, where the number or the meaning differs.
struct RuleNames {
  std::string_view v5;
  std::string_view v311;

  std::string_view For(Version version) const { return version == Version::k5 ? v5 : v311; }
};

// Reads from left to right. The first fault stays: after it every read yields zero or empty and
// takes nothing, so a decoder may read a few fields in a row and ask once. Views point into the
// body.
class Reader {
 public:
  // `truncated` names what is broken when the body ends too early or too late.
  Reader(Bytes body, Version version, RuleNames truncated)
      : next_(body.data()),
        end_(body.data() + body.size()),
        version_(version),
        truncated_(truncated) {}

  Version version() const { return version_; }
  void set_version(Version version) { version_ = version; }
  bool v5() const { return version_ == Version::k5; }

  bool ok() const { return !faulty_; }
  std::optional<Violation> fault() const {
    return faulty_ ? std::optional<Violation>(fault_) : std::nullopt;
  }
  void Fail(ReasonCode reason, std::string_view rule) {
    if (faulty_) return;
    faulty_ = true;
    fault_ = {reason, rule};
    next_ = end_;
  }
  void Fail(const std::optional<Violation>& violation) {
    if (violation.has_value()) Fail(violation->reason, violation->rule);
  }
  void FailMalformed(RuleNames rule) { Fail(ReasonCode::kMalformedPacket, rule.For(version_)); }
  void FailProtocol(RuleNames rule) { Fail(ReasonCode::kProtocolError, rule.For(version_)); }

  size_t size() const { return static_cast<size_t>(end_ - next_); }
  bool empty() const { return next_ == end_; }

  uint8_t Byte() {
    if (!Has(1)) return 0;
    return *next_++;
  }

  uint16_t TwoBytes() {
    if (!Has(2)) return 0;
    const auto value = static_cast<uint16_t>(next_[0] << 8 | next_[1]);
    next_ += 2;
    return value;
  }

  uint32_t FourBytes() {
    if (!Has(4)) return 0;
    const uint32_t value = static_cast<uint32_t>(next_[0]) << 24 |
                           static_cast<uint32_t>(next_[1]) << 16 |
                           static_cast<uint32_t>(next_[2]) << 8 | static_cast<uint32_t>(next_[3]);
    next_ += 4;
    return value;
  }

  // §1.5.5, 5.0 only. At most four bytes, and no more than the value needs [MQTT5-1.5.5-1].
  uint32_t VariableByteInteger() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const uint8_t byte = Byte();
      value |= static_cast<uint32_t>(byte & 0x7F) << (7 * i);
      if ((byte & 0x80) != 0) continue;
      if (i > 0 && byte == 0) Fail(ReasonCode::kMalformedPacket, "MQTT5-1.5.5-1");
      return faulty_ ? 0 : value;
    }
    Fail(ReasonCode::kMalformedPacket, "MQTT5-1.5.5");
    return 0;
  }

  // A two-byte length and that many bytes (§1.5.6), whatever they are.
  std::string_view Binary() { return Take(TwoBytes()); }

  // The same, as UTF-8 (§1.5.4; §1.5.3 in 3.1.1).
  std::string_view Text() {
    const std::string_view text = Binary();
    if (!IsPlainText(text)) CheckText(text);
    return faulty_ ? std::string_view() : text;
  }

  void CheckText(std::string_view text) {
    switch (CheckUtf8(text)) {
      case Utf8Result::kValid:
        return;
      case Utf8Result::kNull:
        return FailMalformed({"MQTT5-1.5.4-2", "MQTT311-1.5.3-2"});
      default:
        return FailMalformed({"MQTT5-1.5.4-1", "MQTT311-1.5.3-1"});
    }
  }

  // Not 0. SUBSCRIBE, UNSUBSCRIBE and PUBLISH [MQTT5-2.2.1-3] [MQTT311-2.3.1-1]; acknowledgements
  // repeat one that was not 0 [MQTT5-2.2.1-5] [MQTT311-2.3.1-6].
  PacketId NonZeroId(RuleNames rule) {
    const PacketId id{TwoBytes()};
    if (!id) FailProtocol(rule);
    return id;
  }

  std::string_view Take(size_t size) {
    if (!Has(size)) return {};
    const std::string_view text(reinterpret_cast<const char*>(next_), size);
    next_ += size;
    return text;
  }
  std::string_view Rest() { return Take(size()); }

  // The packet ends here, or it is malformed.
  void ExpectEnd() {
    if (!empty()) FailMalformed(truncated_);
  }

 private:
  bool Has(size_t size) {
    if (this->size() >= size) return true;
    FailMalformed(truncated_);
    return false;
  }

  const uint8_t* next_;
  const uint8_t* end_;
  Version version_;
  bool faulty_ = false;
  RuleNames truncated_;
  Violation fault_;
};

}  // namespace mqtt

#endif  // MQTT_READER_H_
