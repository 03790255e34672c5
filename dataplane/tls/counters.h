#pragma once

#include <memory>

#include "dataplane/net/security.h"
#include "dataplane/observe/metrics.h"

namespace weft::tls {

// Counters of one listener's or cluster's handshakes on one worker, with Envoy's names:
// ssl.handshake, ssl.session_reused, ssl.no_certificate, ssl.connection_error,
// ssl.fail_verify_error, ssl.fail_verify_san, ssl.fail_verify_cert_hash, ssl.fail_verify_no_cert,
// and by version, cipher and curve. `scope` is ScopeId::Listener or ScopeId::Cluster. Made at the
// first use of TLS; good until the shard drops the scope.
std::unique_ptr<net::SecurityCounters> MakeCounters(observe::Shard& shard,
                                                    const observe::ScopeId& scope);

}  // namespace weft::tls
