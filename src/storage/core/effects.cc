#include "storage/core/effects.h"

namespace storage {

const char* DropCauseName(DropCause cause) {
  switch (cause) {
    case DropCause::kQueueMessages:
      return "queue_messages_max";
    case DropCause::kQueueBytes:
      return "queue_bytes_max";
    case DropCause::kExpired:
      return "expired";
    case DropCause::kOffline:
      return "offline";
    case DropCause::kOutbox:
      return "outbox_max";
  }
  return "unknown";
}

}  // namespace storage
