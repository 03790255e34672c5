#include "dataplane/tls/ticket_keys.h"

#include <openssl/aes.h>
#include <openssl/cipher.h>
#include <openssl/digest.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

namespace weft::tls {

TicketKeys::TicketKeys(const std::vector<std::string>& keys) : fixed_(true) {
  auto list = std::make_shared<std::vector<Key>>();
  for (const std::string& text : keys) {
    Key k;
    memcpy(k.name.data(), text.data(), 16);
    memcpy(k.mac.data(), text.data() + 16, 32);
    memcpy(k.cipher.data(), text.data() + 48, 32);
    list->push_back(k);
  }
  keys_ = std::move(list);
}

std::shared_ptr<const std::vector<TicketKeys::Key>> TicketKeys::WithNew(
    const std::vector<Key>* old) {
  auto list = std::make_shared<std::vector<Key>>();
  Key k;
  RAND_bytes(k.name.data(), k.name.size());
  RAND_bytes(k.mac.data(), k.mac.size());
  RAND_bytes(k.cipher.data(), k.cipher.size());
  list->push_back(k);
  if (old != nullptr) {
    for (size_t i = 0; i < old->size() && list->size() < kKept; ++i) list->push_back((*old)[i]);
  }
  return list;
}

void TicketKeys::Rotate() {
  if (fixed_) return;
  std::lock_guard<std::mutex> lock(mu_);
  keys_ = WithNew(keys_.get());
  made_ = MonotonicNow();
}

std::shared_ptr<const std::vector<TicketKeys::Key>> TicketKeys::Current() {
  std::lock_guard<std::mutex> lock(mu_);
  if (!fixed_) {
    MonoNanos now = MonotonicNow();
    // Two rotations without a handshake: everything old has had its time.
    if (keys_ == nullptr || now - made_ > 2 * kRotation) {
      keys_ = WithNew(nullptr);
      made_ = now;
    } else if (now - made_ > kRotation) {
      keys_ = WithNew(keys_.get());
      made_ = now;
    }
  }
  return keys_;
}

int TicketKeys::Use(uint8_t* key_name, uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac,
                    bool encrypt) {
  std::shared_ptr<const std::vector<Key>> keys = Current();
  if (encrypt) {
    const Key& k = keys->front();
    memcpy(key_name, k.name.data(), k.name.size());
    RAND_bytes(iv, AES_BLOCK_SIZE);
    bool ok = EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, k.cipher.data(), iv) &&
              HMAC_Init_ex(mac, k.mac.data(), k.mac.size(), EVP_sha256(), nullptr);
    return ok ? 1 : -1;
  }
  for (size_t i = 0; i < keys->size(); ++i) {
    const Key& k = (*keys)[i];
    if (memcmp(key_name, k.name.data(), k.name.size()) != 0) continue;
    bool ok = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, k.cipher.data(), iv) &&
              HMAC_Init_ex(mac, k.mac.data(), k.mac.size(), EVP_sha256(), nullptr);
    if (!ok) return -1;
    return i == 0 ? 1 : 2;
  }
  return 0;
}

}  // namespace weft::tls
