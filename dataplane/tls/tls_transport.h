#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/buffer/slice_buffer.h"
#include "dataplane/event/loop.h"
#include "dataplane/net/security.h"
#include "dataplane/net/tls_info.h"
#include "dataplane/net/transport.h"
#include "dataplane/tls/certificate.h"
#include "dataplane/tls/verifier.h"

namespace weft::tls {

class State;
class TlsHandshake;

// TLS over another transport. Ciphertext is read into a block of the slab by one system call, which
// may bring several records, and leaves it before the call returns; plaintext is gathered into few
// records, which leave by one system call. Between events an idle connection holds neither. The end
// of the peer's bytes without close_notify is an error (RFC 8446 section 6.1), not an end. A write
// is reported once its ciphertext is with the inner transport; what was sealed and could not leave
// is held here and finished by the caller's next Write of the same bytes. Owner: the handshake,
// then the connection. Thread: the worker's.
class TlsTransport final : public net::Transport,
                           public net::TlsInfo,
                           private net::Transport::Handler,
                           private event::TurnEndTask {
 public:
  TlsTransport(event::Loop& loop, buffer::Slab& slab, std::unique_ptr<net::Transport> inner,
               std::shared_ptr<const State> state);
  ~TlsTransport() override;

  // net::Transport
  void set_handler(net::Transport::Handler* handler) override;
  ssize_t Read(const iovec* iov, int count) override;
  ssize_t Write(const iovec* iov, int count) override;
  void WantWrite() override;
  void SetReading(bool on) override;
  void ShutdownWrite() override;
  void SetResetOnClose() override;
  const net::Address& local_address() override { return inner_->local_address(); }
  const net::Address& peer_address() const override { return inner_->peer_address(); }
  std::string_view peer_identity() const override;
  std::string_view tls_version() const override { return version(); }
  const net::TlsInfo* tls() const override { return this; }

  // net::TlsInfo
  std::string_view Get(Value value) const override;
  std::string_view version() const override;
  std::string_view cipher() const override;
  std::string_view alpn() const override;
  std::string_view sni() const override;
  bool resumed() const override;
  bool peer_validated() const override { return verdict_.validated; }
  const std::vector<std::string>& peer_uri_sans() const override;
  const std::vector<std::string>& peer_dns_sans() const override;
  std::string_view peer_subject() const override;
  std::string_view peer_issuer() const override;
  std::string_view peer_serial() const override;
  std::string_view peer_sha256() const override;
  std::string_view peer_pem_url_encoded() const override;
  std::string_view peer_chain_pem_url_encoded() const override;
  const std::vector<std::string>& local_uri_sans() const override;
  std::string_view local_subject() const override;

  // Names the endpoint in a client's session cache.
  std::string session_key() const;
  // The group of the key exchange: "X25519".
  std::string_view group() const;

 private:
  friend class State;
  friend class TlsHandshake;
  struct Text {  // made when it is asked for
    std::string pem, chain_pem, peer_uris, peer_names, local_uris;
  };

  // For the handshake: as SSL_do_handshake, with all that it wrote sent at once. `why` when it
  // failed.
  enum class Progress : uint8_t { kDone, kWaiting, kFailed };
  Progress Advance(std::string* why, net::HandshakeFailure* failure);

  void OnReadable() override;
  void OnWritable() override;
  void RunAtTurnEnd() override;

  static const BIO_METHOD* BioMethod();
  static int BioRead(BIO* bio, char* out, int size);
  static int BioWrite(BIO* bio, const char* in, int size);
  static long BioControl(BIO* bio, int command, long, void*);  // NOLINT: BoringSSL's types

  int Pull(char* out, size_t size);
  int Push(const char* in, size_t size);
  int FlushOut();
  bool Buffered() const;
  void ScheduleReadable();
  ssize_t Seal(const iovec* iov, int count, int* index, size_t* offset);
  size_t SealRecord(const iovec* iov, int count, int* index, size_t* offset,
                    buffer::BlockRef* scratch, bool last);
  // Why nothing more can be read: 0 (orderly) or a negative errno.
  int ReadEnd(int ssl_error);
  std::string PemOf(const CRYPTO_BUFFER* certificate) const;

  event::Loop& loop_;
  buffer::Slab& slab_;
  const std::shared_ptr<const State> state_;
  std::unique_ptr<net::Transport> inner_;
  bssl::UniquePtr<SSL> ssl_;
  net::Transport::Handler* handler_ = nullptr;
  TlsHandshake* handshake_ = nullptr;
  bool* destroyed_ = nullptr;  // set while a callback is on the stack
  buffer::BlockRef in_block_;  // ciphertext that the library has not taken yet
  uint32_t in_begin_ = 0, in_end_ = 0;
  buffer::SliceBuffer out_;  // ciphertext that the inner transport has not taken yet
  size_t sealed_ = 0;   // bytes of the caller that `out_` stands for and that were not reported
  int read_error_ = 0;  // of the inner transport: a negative errno
  int write_error_ = 0;
  int read_end_ = 1;       // 1: none; else the sticky result of Read
  bool cork_ = false;      // what the library writes is kept in `out_`
  bool may_read_ = false;  // one system call a Read
  bool inner_eof_ = false;
  bool reading_ = true, want_write_ = false;
  bool established_ = false, shut_ = false, inner_shut_ = false, reset_ = false;
  Verdict verdict_;
  std::shared_ptr<const CertificateInfo> local_;
  mutable std::unique_ptr<Text> text_;
};

// See net::Handshake.
class TlsHandshake final : public net::Handshake, private event::TurnEndTask {
 public:
  TlsHandshake(event::Loop& loop, std::unique_ptr<TlsTransport> transport,
               const net::HandshakeOptions& options, net::Handshake::Handler* handler);
  ~TlsHandshake() override;

 private:
  friend class TlsTransport;
  void Step();
  void RunAtTurnEnd() override { Step(); }
  void Configure(const net::HandshakeOptions& options);

  std::unique_ptr<TlsTransport> transport_;
  net::SecurityCounters* const counters_;
  net::Handshake::Handler* const handler_;
};

}  // namespace weft::tls
