// How much is on its way to a peer over one stream: who produces it stops while that is too much.
#ifndef CLUSTER_CORE_LINK_CREDIT_H_
#define CLUSTER_CORE_LINK_CREDIT_H_

#include <cstdint>
#include <optional>
#include <utility>

namespace cluster {

// Both ends of one stream in one direction each: what is sent counts until the peer says that it
// has taken it. The peer says so in quarters of the limit: seldom, and never too late, for a sender
// that has reached the limit is owed more. Used on one thread.
class LinkCredit {
 public:
  struct Amount {
    uint64_t items = 0;
    uint64_t bytes = 0;
    friend bool operator==(const Amount&, const Amount&) = default;
  };

  // The same at both ends. Neither is 0.
  explicit LinkCredit(Amount limit) : limit_(limit) {}

  // ---- Sender.
  // Whatever the limit: one item more always may be sent by who saw that it was not full.
  void Sent(uint64_t bytes) {
    ++on_way_.items;
    on_way_.bytes += bytes;
  }
  bool IsFull() const { return Reaches(on_way_, 1); }
  // Far enough for those who wait to go on.
  bool HasRoom() const { return !Reaches(on_way_, 2); }
  // False: the peer says that it has taken what was not sent, so it is not to be believed.
  [[nodiscard]] bool Taken(Amount amount) {
    if (amount.items > on_way_.items || amount.bytes > on_way_.bytes) return false;
    on_way_.items -= amount.items;
    on_way_.bytes -= amount.bytes;
    return true;
  }
  Amount on_way() const { return on_way_; }

  // ---- Receiver.
  // False: the peer has sent more than it may.
  [[nodiscard]] bool Received(uint64_t bytes) {
    // What stands untaken, as the peer knows it, was below the limit before the last item.
    if (Reaches(untold(), 1)) return false;
    ++held_.items;
    held_.bytes += bytes;
    return true;
  }
  // Items have left the queue in which they came. False: they never came.
  [[nodiscard]] bool Took(Amount amount) {
    if (amount.items > held_.items || amount.bytes > held_.bytes) return false;
    held_.items -= amount.items;
    held_.bytes -= amount.bytes;
    taken_.items += amount.items;
    taken_.bytes += amount.bytes;
    return true;
  }
  // What the sender is to be told, when that is enough to be told of.
  std::optional<Amount> ToTell() {
    if (!Reaches(taken_, 4)) return std::nullopt;
    return std::exchange(taken_, {});
  }
  // The same, however little: it goes with something else.
  Amount Tell() { return std::exchange(taken_, {}); }

 private:
  bool Reaches(const Amount& amount, uint64_t part) const {
    const uint64_t items = limit_.items / part;
    const uint64_t bytes = limit_.bytes / part;
    return amount.items >= (items == 0 ? 1 : items) || amount.bytes >= (bytes == 0 ? 1 : bytes);
  }
  Amount untold() const { return {held_.items + taken_.items, held_.bytes + taken_.bytes}; }

  const Amount limit_;
  Amount on_way_;
  Amount held_;   // Received, and not taken.
  Amount taken_;  // Taken, and not told.
};

}  // namespace cluster

#endif  // CLUSTER_CORE_LINK_CREDIT_H_
