// What came from another node in one piece.
#ifndef CLUSTER_LINK_RECEIVED_FRAME_H_
#define CLUSTER_LINK_RECEIVED_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cluster/core/link_credit.h"
#include "cluster/core/node_life.h"
#include "cluster/link/frame.h"
#include "cluster/link/options.h"

namespace cluster {

// Where frames come from, and hear that they are taken.
class FrameSource {
 public:
  virtual ~FrameSource() = default;
  virtual void Took(LinkCredit::Amount amount) = 0;
};

// Items, in the order in which they were sent. Whoever is done with them says Took: until then they
// count against what the sender may send. Moved from thread to thread, used on one at a time.
class ReceivedFrame {
 public:
  ReceivedFrame(LinkClass link_class, NodeLife from, uint64_t link, std::string bytes,
                std::vector<ItemPlace> items, std::weak_ptr<FrameSource> source)
      : class_(link_class),
        from_(from),
        link_(link),
        bytes_(std::move(bytes)),
        items_(std::move(items)),
        source_(std::move(source)) {}

  LinkClass link_class() const { return class_; }
  NodeLife from() const { return from_; }
  // What comes by a later link of the node has a greater number; what was sent by the one before
  // and has not come by then never comes.
  uint64_t link() const { return link_; }

  size_t size() const { return items_.size(); }
  std::string_view operator[](size_t i) const {
    return std::string_view(bytes_).substr(items_[i].at, items_[i].size);
  }

  // All of it; once.
  void Took() {
    const auto source = std::exchange(source_, {}).lock();
    if (source == nullptr) return;
    LinkCredit::Amount amount{.items = items_.size()};
    for (const ItemPlace& item : items_) amount.bytes += item.size;
    source->Took(amount);
  }

 private:
  LinkClass class_;
  NodeLife from_;
  uint64_t link_;
  std::string bytes_;
  std::vector<ItemPlace> items_;
  std::weak_ptr<FrameSource> source_;
};

}  // namespace cluster

#endif  // CLUSTER_LINK_RECEIVED_FRAME_H_
