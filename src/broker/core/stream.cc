#include "broker/core/stream.h"

#include <ostream>

namespace broker {

Stream::~Stream() = default;

std::ostream& operator<<(std::ostream& out, IoState state) {
  switch (state) {
    case IoState::kOk:
      return out << "ok";
    case IoState::kAgain:
      return out << "again";
    case IoState::kClosed:
      return out << "closed";
    case IoState::kError:
      break;
  }
  return out << "error";
}

}  // namespace broker
