#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/net/security.h"
#include "dataplane/tls/spec.h"

namespace weft::tls {

class State;
class TicketKeys;

// One side of one TLS configuration: what net::TransportSecurity is made of. Holds the compiled
// state (certificates, trust, sessions), which is immutable and replaced as a whole when a file of
// it changes; a connection keeps the state that it began with. Owner: a compiled spec, shared.
// Thread: Begin on any worker, Check on main.
class Context final : public net::TransportSecurity {
 public:
  // Null, and errors, when something is wrong; files are read by `read`, now and at each Check.
  static std::shared_ptr<Context> Make(ContextSpec spec, ReadFile read,
                                       std::vector<SpecError>* errors);
  ~Context() override;

  std::unique_ptr<net::Handshake> Begin(event::Loop& loop, buffer::Slab& slab,
                                        std::unique_ptr<net::Transport> transport,
                                        const net::HandshakeOptions& options,
                                        net::Handshake::Handler* handler) const override;

  const ContextSpec& spec() const { return *spec_; }
  std::vector<std::string> files() const;

  enum class Change : uint8_t { kNone, kReloaded, kFailed };
  // Reads the files again when one of them looks different. On a failure the state that is there
  // stays, `why` says what is wrong, and the same broken files are not reported again.
  Change Check(std::string* why);

  // When the first of our certificates, or of the peers' authorities' revocation lists, expires:
  // Unix seconds.
  int64_t first_expiry() const;
  // How often the state was replaced.
  uint64_t generation() const;

 private:
  struct Stamp;  // what a file looked like
  struct Files;  // all contents
  Context(ContextSpec spec, ReadFile read);
  std::vector<Stamp> StampAll() const;
  bool ReadAll(Files* out, std::vector<SpecError>* errors) const;
  std::shared_ptr<const State> Build(const Files& files, std::vector<SpecError>* errors);
  std::shared_ptr<const State> Current() const;

  const std::shared_ptr<const ContextSpec> spec_;
  const ReadFile read_;
  std::vector<Stamp> stamps_;  // main's
  std::string digest_;         // main's: of everything that was read
  mutable std::mutex mu_;      // guards state_; taken once a connection
  std::shared_ptr<const State> state_;
  uint64_t generation_ = 0;
};

}  // namespace weft::tls
