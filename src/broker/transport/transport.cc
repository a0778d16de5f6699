#include "broker/transport/transport.h"

namespace broker {

Transport::~Transport() = default;

}  // namespace broker
