// What one identity may do: the access rules as one connection sees them.
#ifndef AUTH_CORE_PERMISSIONS_H_
#define AUTH_CORE_PERMISSIONS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace auth {

class RuleTree;

// Immutable, shared by any number of threads; a connection holds one for as long as it likes, also
// across a reload. The rules themselves are shared by all identities: a `Permissions` adds only the
// two names that %c and %u stand for. No function here allocates, except `MaySubscribe`.
class Permissions {
 public:
  // Everything is allowed: there is no ACL. One object for the whole process.
  static std::shared_ptr<const Permissions> Everything();

  // `own_rules` are the `topic` rules of this identity (null: none), `patterns` the `pattern` rules
  // (null: none, or this identity may not use them). Made by `Acl::PermissionsFor`. What no rule
  // speaks of is denied, unless `unmatched` says otherwise.
  // Of patterns that the identity may not use, what they deny may hold all the same.
  enum class Unmatched : uint8_t { kDenied, kAllowed };
  enum class Patterns : uint8_t { kCount, kOnlyDeny };
  Permissions(std::shared_ptr<const RuleTree> own_rules, std::shared_ptr<const RuleTree> patterns,
              std::string client_id, std::string user_name,
              Unmatched unmatched = Unmatched::kDenied, Patterns what_counts = Patterns::kCount);
  ~Permissions();
  Permissions(const Permissions&) = delete;
  Permissions& operator=(const Permissions&) = delete;

  // True when every topic may be read (written), `$` topics included: the caller need not ask again
  // for single topics. Free: this is the check of a broker without ACL.
  bool ReadsEverything() const { return reads_everything_; }
  bool WritesEverything() const { return writes_everything_; }

  // Whether a message of this Topic Name may be delivered to (accepted from) the identity.
  // Order, as in mosquitto: own `deny`, own grants, pattern `deny`, pattern grants; then no, or
  // what `Unmatched` says.
  // Cost: at most the rules that share a prefix with the topic.
  bool MayRead(std::string_view topic) const {
    return reads_everything_ || Lookup(topic, kReadBit);
  }
  bool MayWrite(std::string_view topic) const {
    return writes_everything_ || Lookup(topic, kWriteBit);
  }

  // Whether a rule denies the topic by name, as opposed to no rule granting it.
  bool Denies(std::string_view topic) const;

  // Whether SUBSCRIBE to `filter` (with or without its `$share/GROUP/`) makes sense: false exactly
  // when no topic that matches it could be read, which is answered with 0x87. A filter that is
  // wider than the rules is granted, and `MayRead` decides message by message. Cost: O(rules).
  bool MaySubscribe(std::string_view filter) const;

 private:
  struct AllowAll {};
  explicit Permissions(AllowAll);
  static constexpr uint8_t kReadBit = 1;
  static constexpr uint8_t kWriteBit = 2;
  bool Lookup(std::string_view topic, uint8_t access) const;
  bool OnlyDenies(const RuleTree* rules) const {
    return patterns_only_deny_ && rules == patterns_.get();
  }

  std::shared_ptr<const RuleTree> own_rules_;
  std::shared_ptr<const RuleTree> patterns_;
  std::string client_id_;
  std::string user_name_;
  uint8_t ordinary_bits_ = 0;  // What every topic without leading $ is granted.
  bool allows_unmatched_ = false;
  bool patterns_only_deny_ = false;
  bool reads_everything_ = false;
  bool writes_everything_ = false;
};

}  // namespace auth

#endif  // AUTH_CORE_PERMISSIONS_H_
