#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/config/grpc_client.h"
#include "dataplane/config/xds_transport.h"

namespace weft::config {

// Where management servers are and how to speak to them.
struct XdsServers {
  std::vector<net::Address> addresses;
  std::string authority;
  GrpcStream::Metadata metadata;
  GrpcOptions grpc;
};

// The xDS transport over gRPC: each stream has a connection of its own, to the next address in turn.
// Owner: ConfigManager. Thread: the loop's. Destroyed when: after its streams.
class GrpcXdsTransport final : public XdsTransport {
 public:
  GrpcXdsTransport(event::Loop& loop, buffer::Slab& slab, XdsServers servers)
      : loop_(loop), slab_(slab), servers_(std::move(servers)) {}

  std::unique_ptr<Stream> Open(Method method, Handler* handler) override;
  size_t servers() const override { return servers_.addresses.size(); }
  std::string server() const override { return servers_.addresses[last_].ToString(); }

 private:
  class GrpcXdsStream;
  event::Loop& loop_;
  buffer::Slab& slab_;
  const XdsServers servers_;
  size_t next_ = 0, last_ = 0;
};

}  // namespace weft::config
