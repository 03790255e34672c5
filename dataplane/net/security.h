#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/net/transport.h"

namespace weft::event {
class Loop;
}
namespace weft::buffer {
class Slab;
}

namespace weft::net {

// A handshake under way on one connection. Exactly one of the two callbacks comes, never from
// inside TransportSecurity::Begin. Destroying it cancels and closes. Owner: whoever asked for it.
// Thread: the loop's.
class Handshake {
 public:
  class Handler {
   public:
    virtual void OnSecured(std::unique_ptr<Transport> transport) = 0;
    // The connection is closed. `detail` says what went wrong, for people ("certificate has
    // expired"); valid during the call.
    virtual void OnHandshakeFailed(std::string_view detail) = 0;

   protected:
    ~Handler() = default;
  };
  virtual ~Handshake() = default;
};

// Why a handshake did not come to its end.
enum class HandshakeFailure : uint8_t {
  kConnection,     // the peer went away without a word
  kTls,            // no common version or cipher, an alert, bytes that are not TLS
  kNoCertificate,  // required, and the peer showed none
  kVerify,         // the certificate's chain, dates, purpose or revocation
  kSan,            // a good certificate of somebody else
  kHash,           // none of the certificates that are pinned
};

// Counts one side's handshakes; tls::MakeCounters makes one. Owner: the listener's or cluster's
// worker side. Thread: the worker's. Destroyed when: no handshake that names it is left.
class SecurityCounters {
 public:
  virtual ~SecurityCounters() = default;
  virtual void OnHandshake(const Transport& transport) = 0;
  virtual void OnFailure(HandshakeFailure why) = 0;
};

// A downstream connection: who made it, and where it was going.
struct ProxiedFor {
  Address source, destination;
};

// What one connection asks of its handshake beyond the configuration. Views are copied.
struct HandshakeOptions {
  // Client: the server name to send in place of the configured one; empty: the configured one.
  std::string_view sni;
  // Client: the protocols to offer when the configuration names none, best first ("h2",
  // "http/1.1").
  std::vector<std::string_view> alpn;
  // Client: the endpoint's name in the configuration, for auto_host_sni.
  std::string_view hostname;
  // Null: not counted.
  SecurityCounters* counters = nullptr;
  // Client: whose connection this carries on (PROXY protocol); null: our own. Valid during Begin.
  const ProxiedFor* proxied_for = nullptr;
};

// Makes connected transports secure, one side of one configuration (a filter chain's or a
// cluster's). Net and http know this interface only; tls/ implements it over BoringSSL. Identity
// and protocol are read from the transport that comes out: Transport::tls(). Owner: a compiled spec,
// shared. Thread: Begin on any worker; immutable but for what it guards itself.
class TransportSecurity {
 public:
  virtual ~TransportSecurity() = default;
  virtual std::unique_ptr<Handshake> Begin(event::Loop& loop, buffer::Slab& slab,
                                           std::unique_ptr<Transport> transport,
                                           const HandshakeOptions& options,
                                           Handshake::Handler* handler) const = 0;
};

}  // namespace weft::net
