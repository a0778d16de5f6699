#include "auth/core/rule_tree.h"

#include <algorithm>
#include <utility>

namespace auth {
namespace {

constexpr size_t kPastTheEnd = std::string_view::npos;

// A name with a / is more than one level, and one with a $ in front would reach the topics that
// wildcards do not: a rule must not grant that only because a client chose such a name.
bool WidensAPattern(std::string_view name, bool is_first_level) {
  return name.find('/') != std::string_view::npos || (is_first_level && name.front() == '$');
}

}  // namespace

struct RuleTree::Node {
  StringMap<std::unique_ptr<Node>> names;
  std::unique_ptr<Node> one;        // +
  std::unique_ptr<Node> client_id;  // %c
  std::unique_ptr<Node> user_name;  // %u
  uint8_t bits = 0;                 // Rules that end here.
  uint8_t rest_bits = 0;            // Rules that end in # here: this level's parent and all below.
};

struct RuleTree::Walk {
  std::string_view topic;
  const ClientNames& names;
  uint8_t mask;  // The bits that count on this path.
  uint8_t& found;
};

RuleTree::RuleTree(Kind kind, std::vector<Rule> rules)
    : kind_(kind), rules_(std::move(rules)), root_(std::make_unique<Node>()) {
  for (const Rule& rule : rules_) Add(rule);
}

RuleTree::RuleTree(std::shared_ptr<const RuleTree> a, std::shared_ptr<const RuleTree> b)
    : kind_(a->kind_),
      first_(std::move(a)),
      second_(std::move(b)),
      has_deny_(first_->has_deny_ || second_->has_deny_) {}

RuleTree::~RuleTree() = default;

std::shared_ptr<const RuleTree> RuleTree::Both(std::shared_ptr<const RuleTree> a,
                                               std::shared_ptr<const RuleTree> b) {
  if (a == nullptr) return b;
  if (b == nullptr) return a;
  return std::shared_ptr<const RuleTree>(new RuleTree(std::move(a), std::move(b)));
}

void RuleTree::Add(const Rule& rule) {
  has_deny_ = has_deny_ || (rule.bits & kRuleDeny) != 0;
  FilterLevels levels;
  SplitLevels(rule.filter, levels);
  Node* node = root_.get();
  for (const std::string_view level : levels) {
    if (level == "#") {
      node->rest_bits = static_cast<uint8_t>(node->rest_bits | rule.bits);
      return;
    }
    std::unique_ptr<Node>* child = nullptr;
    if (level == "+") {
      child = &node->one;
    } else if (kind_ == Kind::kPatterns && level == "%c") {
      child = &node->client_id;
    } else if (kind_ == Kind::kPatterns && level == "%u") {
      child = &node->user_name;
    } else {
      child = &node->names[std::string(level)];
    }
    if (*child == nullptr) *child = std::make_unique<Node>();
    node = child->get();
  }
  node->bits = static_cast<uint8_t>(node->bits | rule.bits);
}

uint8_t RuleTree::Match(std::string_view topic, const ClientNames& names) const {
  if (first_ != nullptr)
    return static_cast<uint8_t>(first_->Match(topic, names) | second_->Match(topic, names));
  uint8_t found = 0;
  Visit(*root_, 0, {topic, names, kRuleRead | kRuleWrite | kRuleDeny, found});
  return found;
}

// `begin` is where the next level of the topic begins, or kPastTheEnd.
void RuleTree::Visit(const Node& node, size_t begin, Walk walk) const {
  // [MQTT-4.7.2-1] Leading wildcards do not match a topic that begins with $.
  const bool wildcards = begin != 0 || walk.topic.empty() || walk.topic.front() != '$';
  if (wildcards) walk.found = static_cast<uint8_t>(walk.found | (node.rest_bits & walk.mask));
  if (begin == kPastTheEnd) {
    walk.found = static_cast<uint8_t>(walk.found | (node.bits & walk.mask));
    return;
  }
  const size_t slash = walk.topic.find('/', begin);
  const size_t next = slash == std::string_view::npos ? kPastTheEnd : slash + 1;
  if (const auto it = node.names.find(walk.topic.substr(begin, slash - begin));
      it != node.names.end()) {
    Visit(*it->second, next, walk);
  }
  if (node.one != nullptr && wildcards) Visit(*node.one, next, walk);
  MatchName(node.client_id.get(), walk.names.client_id, begin, walk);
  MatchName(node.user_name.get(), walk.names.user_name, begin, walk);
}

void RuleTree::MatchName(const Node* node, std::string_view name, size_t begin, Walk walk) const {
  if (node == nullptr || name.empty()) return;
  const std::string_view rest = walk.topic.substr(begin);
  if (rest.substr(0, name.size()) != name) return;
  const bool ends = rest.size() == name.size();
  if (!ends && rest[name.size()] != '/') return;
  // What is denied stays denied under any reading of the name.
  if (WidensAPattern(name, begin == 0)) walk.mask = walk.mask & kRuleDeny;
  Visit(*node, ends ? kPastTheEnd : begin + name.size() + 1, walk);
}

uint8_t RuleTree::BitsOfOrdinaryTopics() const {
  if (has_deny_) return 0;
  if (first_ == nullptr) return root_->rest_bits;
  return static_cast<uint8_t>(first_->BitsOfOrdinaryTopics() | second_->BitsOfOrdinaryTopics());
}

// The filter that `rule` is for this client; false if it is none.
bool RuleTree::Expand(const Rule& rule, const ClientNames& names, FilterLevels& levels) const {
  levels.clear();
  SplitLevels(rule.filter, levels);
  if (kind_ != Kind::kPatterns) return true;
  FilterLevels expanded;
  for (const std::string_view level : levels) {
    const bool is_client_id = level == "%c";
    if (!is_client_id && level != "%u") {
      expanded.push_back(level);
      continue;
    }
    const std::string_view name = is_client_id ? names.client_id : names.user_name;
    if (name.empty()) return false;
    if (rule.bits != kRuleDeny && WidensAPattern(name, expanded.empty())) return false;
    SplitLevels(name, expanded);
  }
  levels = std::move(expanded);
  return true;
}

void RuleTree::AppendDenied(const ClientNames& names, std::vector<FilterLevels>& denied) const {
  if (first_ != nullptr) {
    first_->AppendDenied(names, denied);
    return second_->AppendDenied(names, denied);
  }
  for (const Rule& rule : rules_) {
    if (rule.bits != kRuleDeny) continue;
    FilterLevels levels;
    if (Expand(rule, names, levels)) denied.push_back(std::move(levels));
  }
}

bool RuleTree::GrantsSomeRead(const FilterLevels& filter, const ClientNames& names,
                              const std::vector<FilterLevels>& denied) const {
  if (first_ != nullptr) {
    return first_->GrantsSomeRead(filter, names, denied) ||
           second_->GrantsSomeRead(filter, names, denied);
  }
  FilterLevels granted;
  return std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) {
    if ((rule.bits & kRuleRead) == 0 || !Expand(rule, names, granted)) return false;
    if (!Overlap(filter, granted)) return false;
    return std::none_of(denied.begin(), denied.end(), [&](const FilterLevels& wide) {
      return CoversCommon(wide, filter, granted);
    });
  });
}

}  // namespace auth
