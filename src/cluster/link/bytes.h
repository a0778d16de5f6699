// Between gRPC's buffers and strings.
#ifndef CLUSTER_LINK_BYTES_H_
#define CLUSTER_LINK_BYTES_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cluster {

// Without a copy.
inline grpc::ByteBuffer ToBuffer(std::string bytes) {
  auto owned = std::make_unique<std::string>(std::move(bytes));
  std::string* const text = owned.release();
  const grpc::Slice slice(
      text->data(), text->size(), [](void* gone) { delete static_cast<std::string*>(gone); }, text);
  return grpc::ByteBuffer(&slice, 1);
}

inline std::string ToString(const grpc::ByteBuffer& buffer) {
  std::string bytes;
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

}  // namespace cluster

#endif  // CLUSTER_LINK_BYTES_H_
