#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/clock.h"

namespace weft::tls {

// What a server seals session tickets with (RFC 5077 section 4): AES-256-CBC and HMAC-SHA256.
// Either the keys that the configuration gives, or random ones that are made anew every
// `kRotation`, of which the last three open tickets. Sessions of one set of keys don't open under
// another, so a set belongs to one state of trust. Owner: shared by the contexts' states of equal
// trust. Thread: any.
class TicketKeys {
 public:
  static constexpr size_t kKeyBytes = 80;  // name, MAC key, cipher key: as nginx and Envoy
  static constexpr size_t kKept = 3;
  static constexpr MonoNanos kRotation = 12 * 3600 * kSecond;

  TicketKeys() = default;  // random, rotating
  // Each of kKeyBytes; the first one seals.
  explicit TicketKeys(const std::vector<std::string>& keys);

  // BoringSSL's ticket key callback: 1 done, 2 done but the ticket should be renewed, 0 unknown
  // key, -1 error.
  int Use(uint8_t* key_name, uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac, bool encrypt);

  // Makes a new random key the first, whatever its age; nothing for configured keys.
  void Rotate();

 private:
  struct Key {
    std::array<uint8_t, 16> name;
    std::array<uint8_t, 32> mac, cipher;
  };
  static std::shared_ptr<const std::vector<Key>> WithNew(const std::vector<Key>* old);
  std::shared_ptr<const std::vector<Key>> Current();

  const bool fixed_ = false;
  std::mutex mu_;  // guards both; taken once a handshake
  std::shared_ptr<const std::vector<Key>> keys_;
  MonoNanos made_ = 0;
};

}  // namespace weft::tls
