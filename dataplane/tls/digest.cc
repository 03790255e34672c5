#include "dataplane/tls/digest.h"

#include <openssl/sha.h>

namespace weft::tls {

std::array<uint8_t, 20> Sha1(std::initializer_list<std::string_view> pieces) {
  static_assert(SHA_DIGEST_LENGTH == 20);
  SHA_CTX sha;
  SHA1_Init(&sha);
  for (std::string_view piece : pieces) SHA1_Update(&sha, piece.data(), piece.size());
  std::array<uint8_t, 20> out;
  SHA1_Final(out.data(), &sha);
  return out;
}

}  // namespace weft::tls
