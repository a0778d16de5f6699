// The rules of one section of an ACL, arranged by topic level.
#ifndef AUTH_CORE_RULE_TREE_H_
#define AUTH_CORE_RULE_TREE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "auth/core/filter_algebra.h"
#include "auth/core/string_map.h"

namespace auth {

// What a rule says, as bits; kDeny stands alone in one rule.
inline constexpr uint8_t kRuleRead = 1;
inline constexpr uint8_t kRuleWrite = 2;
inline constexpr uint8_t kRuleDeny = 4;

struct Rule {
  std::string filter;  // Valid, at most `RuleTree::kLevelsMax` levels.
  uint8_t bits = 0;
};

// What %c and %u stand for; an empty name stands for nothing and matches nothing.
struct ClientNames {
  std::string_view client_id;
  std::string_view user_name;
};

// Immutable, shared by all connections and threads: a pattern is compared with the names of the
// client while matching, so that a client costs no copy of the rules.
class RuleTree {
 public:
  enum class Kind : uint8_t { kTopics, kPatterns };  // In kTopics, %c is a level like any other.
  static constexpr size_t kLevelsMax = 200;          // Bounds the recursion of `Match`.

  RuleTree(Kind kind, std::vector<Rule> rules);
  // The rules of both, together; either may be null.
  static std::shared_ptr<const RuleTree> Both(std::shared_ptr<const RuleTree> a,
                                              std::shared_ptr<const RuleTree> b);
  ~RuleTree();
  RuleTree(const RuleTree&) = delete;
  RuleTree& operator=(const RuleTree&) = delete;

  // The bits of all rules that match the topic, together. Does not allocate.
  uint8_t Match(std::string_view topic, const ClientNames& names) const;

  // The bits that every topic without leading $ is sure to get; none if the tree has a deny.
  uint8_t BitsOfOrdinaryTopics() const;

  // For questions about filters. Appends the `deny` rules, with the names put in.
  void AppendDenied(const ClientNames& names, std::vector<FilterLevels>& denied) const;
  // True if `filter` and some rule that grants reading have a topic in common, and no single one
  // of `denied` covers all they have in common.
  bool GrantsSomeRead(const FilterLevels& filter, const ClientNames& names,
                      const std::vector<FilterLevels>& denied) const;

 private:
  struct Node;
  struct Walk;
  RuleTree(std::shared_ptr<const RuleTree> a, std::shared_ptr<const RuleTree> b);
  void Add(const Rule& rule);
  void MatchName(const Node* node, std::string_view name, size_t begin, Walk walk) const;
  void Visit(const Node& node, size_t begin, Walk walk) const;
  bool Expand(const Rule& rule, const ClientNames& names, FilterLevels& levels) const;

  const Kind kind_;
  const std::vector<Rule> rules_;
  std::unique_ptr<Node> root_;
  // Others whose rules are this one's too: both or neither. They have none themselves.
  const std::shared_ptr<const RuleTree> first_;
  const std::shared_ptr<const RuleTree> second_;
  bool has_deny_ = false;
};

}  // namespace auth

#endif  // AUTH_CORE_RULE_TREE_H_
