// A connection between the process and its own broker: two ends of a pipe in memory.
#ifndef INSIDE_STREAM_H_
#define INSIDE_STREAM_H_

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "broker/core/stream.h"
#include "client/stream.h"

namespace inside {

// What is under way in one direction; above, the writer waits for the reader.
inline constexpr size_t kBytesMax = 256 * 1024;

struct Ends {
  std::unique_ptr<broker::Stream> server;  // For a shard with a poller: it has a descriptor.
  std::unique_ptr<mqttd::client::Stream>
      client;  // Used on `executor`, which runs one thing at a time.
};

// Errors: kResourceExhausted: no descriptor is left.
absl::StatusOr<Ends> MakeEnds(boost::asio::any_io_executor executor);

}  // namespace inside

#endif  // INSIDE_STREAM_H_
