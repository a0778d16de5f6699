// Frames of a link as bytes: ToPeer and FromPeer of proto/mqttd/cluster/v1/link.proto, once the
// Hello is answered. By hand, so that items are read where they came.
#ifndef CLUSTER_LINK_FRAME_H_
#define CLUSTER_LINK_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/core/link_credit.h"

namespace cluster {

void AppendItem(std::string_view item, std::string& frame);
void AppendPing(uint64_t ping, std::string& frame);

// Where an item is in its frame.
struct ItemPlace {
  size_t at = 0;
  size_t size = 0;
};
struct FrameView {
  uint64_t ping = 0;
  std::vector<ItemPlace> items;
};
// False: no release writes that. Fields that are not known are skipped.
bool ParseFrame(std::string_view bytes, FrameView& frame);

struct BackFrame {
  uint64_t pong = 0;
  LinkCredit::Amount taken;
};
std::string EncodeBackFrame(const BackFrame& frame);
bool ParseBackFrame(std::string_view bytes, BackFrame& frame);

}  // namespace cluster

#endif  // CLUSTER_LINK_FRAME_H_
