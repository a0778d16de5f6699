#include "storage/leader/aside.h"

#include <algorithm>

namespace storage {

void Aside::Set(State state) {
  state_ = state;
  asked_.clear();
}

Aside::Then Aside::Hear(NodeId from, const KnowRoutes& question, const Moment& moment) {
  if (question.partition >= beforehand_.size()) return Then::kPassOn;
  const auto answer = [&] {
    uint64_t& through = beforehand_[question.partition];
    through = std::max(through, question.index);
    return Then::kAnswer;
  };
  if (state_ == State::kAside) return answer();
  Asked& asked = asked_[{question.partition, from}];
  if (asked.ticket != question.ticket) asked = {question.ticket, moment.now};
  if (state_ == State::kClosing || moment.now < asked.since + kPatience) return Then::kPassOn;
  const std::string why = WhyItStands(moment);
  if (why.empty()) return Then::kPassOn;
  why_ = why;
  if (state_ == State::kReturning) {  // Nobody has been let in since.
    Set(State::kAside);
    return answer();
  }
  Set(State::kClosing);
  return Then::kStepAside;
}

// Empty: it does not, or not for long.
std::string Aside::WhyItStands(const Moment& moment) const {
  const auto is_long = [&](absl::Duration since) { return since + kPatience <= moment.now; };
  if (stands_since_.has_value() && is_long(*stands_since_)) return standing_.ToString();
  if (is_long(moment.log_since)) return "a write of the log does not come to its end";
  if (turns_since_.has_value() && is_long(*turns_since_)) return "the disk keeps the state waiting";
  return "";
}

void Aside::Closed() {
  if (state_ == State::kClosing) Set(State::kAside);
}

// ---- The host's thread --------------------------------------------------------------------------

void Aside::BeginTurn(absl::Duration now) { turns_since_ = now; }

void Aside::EndTurn(const absl::Status& standing, const Moment& moment) {
  const absl::Duration began = turns_since_.value_or(moment.now);
  turns_since_.reset();
  if (standing.ok()) {
    stands_since_.reset();
  } else {
    if (!stands_since_.has_value()) stands_since_ = began;
    standing_ = standing;
  }
  const bool works =
      standing.ok() && !moment.log_is_late() && moment.now < began + absl::Seconds(1);
  if (!works) {
    works_since_.reset();
  } else if (!works_since_.has_value()) {
    works_since_ = moment.now;
  }
}

uint64_t Aside::MayReturn(absl::Duration now,
                          absl::FunctionRef<bool(const std::vector<uint64_t>& through)> told) {
  if (state_ == State::kAside && works_since_.has_value() && now >= *works_since_ + kWorksFor) {
    Set(State::kReturning);
    ++attempts_;
    shards_are_asked_ = false;
  }
  if (state_ != State::kReturning || shards_are_asked_ || !told(beforehand_)) return 0;
  shards_are_asked_ = true;
  return attempts_;
}

bool Aside::Return(uint64_t attempt) {
  if (state_ != State::kReturning || attempt != attempts_) return false;
  Set(State::kServes);
  return true;
}

}  // namespace storage
