// PUBLISH (§3.3) as a whole packet; its parts are in encode_publish.h.
#include "mqtt/encode_publish.h"

#include "mqtt/encode.h"

namespace mqtt {

PublishHead HeadOf(const Publish& publish, Version version, std::string& scratch) {
  return {.version = version,
          .dup = publish.dup,
          .qos = publish.qos,
          .retain = publish.retain,
          .packet_id = publish.packet_id,
          .topic = publish.topic,
          .topic_alias = publish.topic_alias,
          .message_expiry_interval = publish.message_expiry_interval,
          .subscription_ids = publish.subscription_ids,
          .forward_properties = ForwardProperties(publish, scratch),
          .payload = publish.payload};
}

bool Encode(const PublishHead& head, std::string& out, uint32_t packet_size_max) {
  const PublishSize size = MeasurePublish(head);
  if (size.total > packet_size_max) return false;
  const size_t begin = out.size();
  out.resize(begin + size.total);
  WritePublish(reinterpret_cast<uint8_t*>(out.data() + begin), head, size);
  return true;
}

}  // namespace mqtt
