#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "dataplane/net/address.h"
#include "dataplane/net/security.h"

namespace weft::net {

// The PROXY protocol, versions 1 and 2: a header in front of a connection that says whose it is.
struct ProxyHeader {
  int version = 0;      // 1 or 2
  bool has_addresses = false;  // false: LOCAL, UNKNOWN, or a family that has none here
  Address source, destination;
  size_t size = 0;      // bytes of the header
};

enum class ProxyHeaderResult : uint8_t {
  kMore,       // so far it may be one
  kDone,
  kNone,       // the bytes are no PROXY header
  kMalformed,  // they begin like one and are none, or one for datagrams
};

// `in`: everything that was read so far. A header of version 1 has at most 107 bytes, one of
// version 2 16 and up to 65535 more. Fields behind the addresses (type, length, value) are checked for
// their lengths and skipped.
ProxyHeaderResult ParseProxyHeader(std::string_view in, ProxyHeader* out);
inline constexpr size_t kMaxProxyHeader = 16 + 65535;

// The header of one connection. Addresses that are not of one IP family are not told: UNKNOWN, LOCAL.
std::string MakeProxyHeader(int version, const Address& source, const Address& destination);

// Writes a PROXY header with HandshakeOptions' addresses before anything else, then goes on with
// `inner` (null: plain). Owner: a compiled cluster, shared. Thread: immutable, any.
class ProxyProtocolSecurity final : public TransportSecurity {
 public:
  ProxyProtocolSecurity(int version, std::shared_ptr<const TransportSecurity> inner)
      : version_(version), inner_(std::move(inner)) {}
  std::unique_ptr<Handshake> Begin(event::Loop& loop, buffer::Slab& slab,
                                   std::unique_ptr<Transport> transport,
                                   const HandshakeOptions& options,
                                   Handshake::Handler* handler) const override;

 private:
  class Writing;
  const int version_;
  const std::shared_ptr<const TransportSecurity> inner_;
};

}  // namespace weft::net
