#pragma once

#include <openssl/base.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>

#include <string>
#include <string_view>

#include "dataplane/tls/spec.h"

namespace weft::tls {

// Small conveniences over BoringSSL, for this folder's files only.

// The first reason in the thread's error queue, for people ("CERTIFICATE_EXPIRED" becomes
// "certificate expired"); empties the queue. `fallback` when there is none.
std::string LastError(std::string_view fallback);

Sha256 Digest(std::string_view bytes);
std::string Hex(const uint8_t* data, size_t size);

inline std::string_view View(const CRYPTO_BUFFER* b) {
  return {reinterpret_cast<const char*>(CRYPTO_BUFFER_data(b)), CRYPTO_BUFFER_len(b)};
}

}  // namespace weft::tls
