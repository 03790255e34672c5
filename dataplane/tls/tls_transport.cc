#include "dataplane/tls/tls_transport.h"

#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/stack.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "dataplane/base/strings.h"
#include "dataplane/tls/library.h"
#include "dataplane/tls/state.h"

namespace weft::tls {
namespace {

constexpr int kNoEnd = 1;
constexpr size_t kMaxRecord = 16384;  // plaintext of a record (RFC 8446 section 5.1)
constexpr size_t kBatch =
    64 * 1024;  // plaintext that is sealed before the inner transport is asked

}  // namespace

TlsTransport::TlsTransport(event::Loop& loop, buffer::Slab& slab,
                           std::unique_ptr<net::Transport> inner,
                           std::shared_ptr<const State> state)
    : loop_(loop),
      slab_(slab),
      state_(std::move(state)),
      inner_(std::move(inner)),
      ssl_(SSL_new(state_->ctx())) {
  BIO* bio = BIO_new(BioMethod());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_shed_handshake_config(ssl_.get(), 1);  // what only a handshake needs goes with it
  if (state_->spec().server) {
    SSL_set_accept_state(ssl_.get());
  } else {
    SSL_set_connect_state(ssl_.get());
  }
  inner_->set_handler(static_cast<net::Transport::Handler*>(this));
}

TlsTransport::~TlsTransport() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  // An orderly close says so, as far as the kernel takes it now.
  if (established_ && !reset_ && write_error_ == 0 && read_error_ == 0) {
    if (!shut_ && sealed_ == 0) SSL_shutdown(ssl_.get());
    if (!out_.empty()) FlushOut();
  }
  ERR_clear_error();
}

// ---- what the library reads and writes

const BIO_METHOD* TlsTransport::BioMethod() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "transport");
    BIO_meth_set_read(m, BioRead);
    BIO_meth_set_write(m, BioWrite);
    BIO_meth_set_ctrl(m, BioControl);
    return m;
  }();
  return method;
}

int TlsTransport::BioRead(BIO* bio, char* out, int size) {
  BIO_clear_retry_flags(bio);
  int n = static_cast<TlsTransport*>(BIO_get_data(bio))->Pull(out, static_cast<size_t>(size));
  if (n == -EAGAIN) {
    BIO_set_retry_read(bio);
    return -1;
  }
  return n < 0 ? -1 : n;
}

int TlsTransport::BioWrite(BIO* bio, const char* in, int size) {
  BIO_clear_retry_flags(bio);
  return static_cast<TlsTransport*>(BIO_get_data(bio))->Push(in, static_cast<size_t>(size));
}

long TlsTransport::BioControl(BIO*, int command, long, void*) {  // NOLINT: BoringSSL's types
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int TlsTransport::Pull(char* out, size_t size) {
  if (in_begin_ == in_end_) {
    if (read_error_ != 0) return read_error_;
    if (inner_eof_) return 0;
    if (!may_read_) return -EAGAIN;
    if (!in_block_) in_block_ = slab_.Get();
    iovec iov = {in_block_->data(), in_block_->capacity()};
    ssize_t n = inner_->Read(&iov, 1);
    // Less than there was room for: the kernel has no more now.
    may_read_ = n == static_cast<ssize_t>(iov.iov_len);
    if (n <= 0) {
      if (n == 0) inner_eof_ = true;
      if (n < 0 && n != -EAGAIN) read_error_ = static_cast<int>(n);
      return static_cast<int>(n);
    }
    in_begin_ = 0;
    in_end_ = static_cast<uint32_t>(n);
  }
  size_t n = std::min<size_t>(size, in_end_ - in_begin_);
  memcpy(out, in_block_->data() + in_begin_, n);
  in_begin_ += static_cast<uint32_t>(n);
  return static_cast<int>(n);
}

int TlsTransport::Push(const char* in, size_t size) {
  if (write_error_ != 0) return -1;
  size_t done = 0;
  if (!cork_ && out_.empty()) {
    iovec iov = {const_cast<char*>(in), size};
    ssize_t n = inner_->Write(&iov, 1);
    if (n < 0 && n != -EAGAIN) {
      write_error_ = static_cast<int>(n);
      return -1;
    }
    done = n > 0 ? static_cast<size_t>(n) : 0;
    if (done < size) inner_->WantWrite();
  }
  if (done < size) out_.AppendCopy(slab_, {in + done, size - done});
  return static_cast<int>(size);
}

// 0: everything is with the inner transport; -EAGAIN: it will say when it takes more.
int TlsTransport::FlushOut() {
  if (write_error_ != 0) return write_error_;
  size_t written = 0;
  int r = net::Flush(*inner_, out_, &written);
  if (r == 0) out_.Release();
  if (r < 0 && r != -EAGAIN) write_error_ = r;
  return r;
}

// ---- reading

bool TlsTransport::Buffered() const {
  return read_end_ != kNoEnd || in_begin_ < in_end_ || SSL_pending(ssl_.get()) > 0;
}

void TlsTransport::ScheduleReadable() {
  if (reading_ && handler_ != nullptr) loop_.AtTurnEnd(this);
}

int TlsTransport::ReadEnd(int ssl_error) {
  if (ssl_error == SSL_ERROR_ZERO_RETURN) return 0;
  if (read_error_ != 0) return read_error_;
  // Without close_notify nobody knows whether these were all bytes.
  if (inner_eof_) return -ECONNRESET;
  return -EPROTO;
}

ssize_t TlsTransport::Read(const iovec* iov, int count) {
  size_t total = 0;
  bool more = read_end_ == kNoEnd;
  may_read_ = true;
  for (int i = 0; i < count && more; ++i) {
    char* to = static_cast<char*>(iov[i].iov_base);
    size_t left = iov[i].iov_len;
    while (left > 0) {
      int n = SSL_read(ssl_.get(), to, static_cast<int>(std::min<size_t>(left, INT32_MAX)));
      if (n > 0) {
        to += n;
        left -= static_cast<size_t>(n);
        total += static_cast<size_t>(n);
        continue;
      }
      int error = SSL_get_error(ssl_.get(), n);
      if (error != SSL_ERROR_WANT_READ) read_end_ = ReadEnd(error);
      ERR_clear_error();
      more = false;
      break;
    }
  }
  may_read_ = false;
  if (in_begin_ == in_end_) in_block_.reset();
  // Answers of the library's own: alerts, key updates.
  if (!out_.empty() && sealed_ == 0) FlushOut();
  if (total == 0) return read_end_ == kNoEnd ? -EAGAIN : read_end_;
  if (Buffered()) ScheduleReadable();
  return static_cast<ssize_t>(total);
}

void TlsTransport::OnReadable() {
  if (handshake_ != nullptr) {
    handshake_->Step();
  } else if (handler_ != nullptr && reading_) {
    handler_->OnReadable();
  }
}

void TlsTransport::RunAtTurnEnd() {
  if (!reading_ || handler_ == nullptr || !Buffered()) return;
  bool destroyed = false;
  bool* outer = std::exchange(destroyed_, &destroyed);
  handler_->OnReadable();
  if (destroyed) {
    if (outer != nullptr) *outer = true;
    return;
  }
  destroyed_ = outer;
  // Level-triggered, but for an end that was told: the descriptor itself repeats that.
  if (read_end_ == kNoEnd && Buffered()) ScheduleReadable();
}

void TlsTransport::set_handler(net::Transport::Handler* handler) {
  handler_ = handler;
  if (handler != nullptr && Buffered()) ScheduleReadable();
}

void TlsTransport::SetReading(bool on) {
  reading_ = on;
  inner_->SetReading(on);
  if (on && Buffered()) ScheduleReadable();
}

// ---- writing

// Seals one record out of what is at (index, offset) and moves that on. Large pieces are sealed
// where they are, small ones are put together first. 0: the library failed.
size_t TlsTransport::SealRecord(const iovec* iov, int count, int* index, size_t* offset,
                                buffer::BlockRef* scratch, bool last) {
  const char* data = static_cast<const char*>(iov[*index].iov_base) + *offset;
  size_t size = iov[*index].iov_len - *offset;
  if (size >= kMaxRecord || *index + 1 == count) {
    size = std::min(size, kMaxRecord);
    *offset += size;
  } else {
    if (!*scratch) *scratch = slab_.Get();
    size_t room = std::min<size_t>((*scratch)->capacity(), kMaxRecord), used = 0;
    while (used < room && *index < count) {
      size_t n = std::min(room - used, iov[*index].iov_len - *offset);
      memcpy((*scratch)->data() + used, static_cast<const char*>(iov[*index].iov_base) + *offset,
             n);
      used += n;
      *offset += n;
      if (*offset == iov[*index].iov_len && *index + 1 < count) {
        ++*index;
        *offset = 0;
      } else if (*offset == iov[*index].iov_len) {
        break;
      }
    }
    data = (*scratch)->data();
    size = used;
  }
  cork_ = !last;
  int n = SSL_write(ssl_.get(), data, static_cast<int>(size));
  cork_ = false;
  if (n != static_cast<int>(size)) {
    ERR_clear_error();
    if (write_error_ == 0) write_error_ = -EPIPE;
    return 0;
  }
  return size;
}

ssize_t TlsTransport::Write(const iovec* iov, int count) {
  if (write_error_ != 0) return write_error_;
  size_t left = 0;
  for (int i = 0; i < count; ++i) left += iov[i].iov_len;
  if (!out_.empty()) {
    int r = FlushOut();
    if (r != 0) return r;
  }
  size_t done = std::min(std::exchange(sealed_, 0), left);
  left -= done;
  if (left == 0) return static_cast<ssize_t>(done);
  if (shut_) return -EPIPE;
  int index = 0;
  size_t offset = done;
  auto normalise = [&] {
    while (index + 1 < count && offset >= iov[index].iov_len) offset -= iov[index++].iov_len;
  };
  normalise();
  buffer::BlockRef scratch;
  while (left > 0) {
    size_t batch = 0;
    while (left > batch && batch < kBatch) {
      // The last record of a batch goes straight from the library's buffer to the kernel when it is
      // alone.
      bool last = left - batch <= kMaxRecord && batch == 0;
      size_t n = SealRecord(iov, count, &index, &offset, &scratch, last);
      if (n == 0) return done > 0 ? static_cast<ssize_t>(done) : write_error_;
      batch += n;
      normalise();
    }
    left -= batch;
    if (!out_.empty()) {
      int r = FlushOut();
      if (r == -EAGAIN) {
        sealed_ = batch;
        return done > 0 ? static_cast<ssize_t>(done) : -EAGAIN;
      }
      if (r < 0) return done > 0 ? static_cast<ssize_t>(done) : r;
    }
    done += batch;
  }
  return static_cast<ssize_t>(done);
}

void TlsTransport::WantWrite() {
  want_write_ = true;
  inner_->WantWrite();
}

void TlsTransport::OnWritable() {
  if (!out_.empty() && FlushOut() == -EAGAIN) return;
  if (shut_ && !inner_shut_ && out_.empty()) {
    inner_shut_ = true;
    inner_->ShutdownWrite();
  }
  if (handshake_ != nullptr) {
    handshake_->Step();
  } else if (want_write_ && handler_ != nullptr) {
    want_write_ = false;
    handler_->OnWritable();
  }
}

void TlsTransport::ShutdownWrite() {
  if (shut_) return;
  shut_ = true;
  if (write_error_ == 0) SSL_shutdown(ssl_.get());
  ERR_clear_error();
  if (!out_.empty() && FlushOut() == -EAGAIN) return;  // OnWritable goes on
  inner_shut_ = true;
  inner_->ShutdownWrite();
}

void TlsTransport::SetResetOnClose() {
  reset_ = true;
  inner_->SetResetOnClose();
}

// ---- the handshake

TlsTransport::Progress TlsTransport::Advance(std::string* why, net::HandshakeFailure* failure) {
  may_read_ = true;
  cork_ = true;
  ERR_clear_error();
  int n = SSL_do_handshake(ssl_.get());
  int error = n == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), n);
  cork_ = may_read_ = false;
  if (in_begin_ == in_end_) in_block_.reset();
  if (!out_.empty()) FlushOut();
  if (n == 1) {
    const Verifier* verifier = state_->verifier();
    const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl_.get());
    bool shown = chain != nullptr && sk_CRYPTO_BUFFER_num(chain) > 0;
    // A session says that the certificate was good once; what counts is whether it is now.
    if (SSL_session_reused(ssl_.get()) && verifier != nullptr &&
        (shown || !state_->spec().server || state_->spec().require_client_certificate)) {
      verdict_ = state_->Judge(chain, sni());
      if (!verdict_.ok) {
        *why = verdict_.detail;
        *failure = verdict_.failure;
        return Progress::kFailed;
      }
    }
    if (local_ == nullptr) local_ = state_->LocalCertificate(nullptr);
    if (verdict_.peer == nullptr && shown)
      verdict_.peer = CertificateInfo::Parse(View(sk_CRYPTO_BUFFER_value(chain, 0)));
    established_ = true;
    return Progress::kDone;
  }
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    if (local_ == nullptr) local_ = state_->LocalCertificate(ssl_.get());
    if (write_error_ == 0) return Progress::kWaiting;
  }
  uint32_t code = ERR_peek_error();
  if (!verdict_.ok && !verdict_.detail.empty()) {
    *why = verdict_.detail;
    *failure = verdict_.failure;
  } else if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
             ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    *why = "the peer showed no certificate";
    *failure = net::HandshakeFailure::kNoCertificate;
  } else if (code == 0) {
    *why =
        read_error_ != 0 || write_error_ != 0
            ? StrCat("connection lost: ", strerror(read_error_ != 0 ? -read_error_ : -write_error_))
            : "the peer closed the connection within the handshake";
    *failure = net::HandshakeFailure::kConnection;
  } else {
    *why = LastError("TLS error");
    *failure = net::HandshakeFailure::kTls;
  }
  ERR_clear_error();
  return Progress::kFailed;
}

TlsHandshake::TlsHandshake(event::Loop& loop, std::unique_ptr<TlsTransport> transport,
                           const net::HandshakeOptions& options, net::Handshake::Handler* handler)
    : transport_(std::move(transport)), counters_(options.counters), handler_(handler) {
  transport_->handshake_ = this;
  if (!transport_->state_->spec().server) Configure(options);
  // The client speaks first, but never from inside Begin().
  if (!transport_->state_->spec().server) loop.AtTurnEnd(this);
}

TlsHandshake::~TlsHandshake() {
  if (transport_ != nullptr) transport_->handshake_ = nullptr;
}

void TlsHandshake::Configure(const net::HandshakeOptions& options) {
  SSL* ssl = transport_->ssl_.get();
  const ContextSpec& spec = transport_->state_->spec();
  std::string name(!options.sni.empty() || spec.dialed_name_only     ? options.sni
                   : spec.auto_host_sni && !options.hostname.empty() ? options.hostname
                                                                     : std::string_view(spec.sni));
  if (!name.empty()) SSL_set_tlsext_host_name(ssl, name.c_str());
  if (spec.alpn.empty() && !options.alpn.empty()) {
    std::string wire;
    for (std::string_view p : options.alpn) {
      wire.push_back(static_cast<char>(p.size()));
      wire.append(p);
    }
    SSL_set_alpn_protos(ssl, reinterpret_cast<const uint8_t*>(wire.data()), wire.size());
  }
  if (spec.max_session_keys > 0) {
    bssl::UniquePtr<SSL_SESSION> session =
        transport_->state_->sessions().Get(transport_->session_key());
    if (session != nullptr) SSL_set_session(ssl, session.get());
  }
}

// The last statement of each way is the callback: it may destroy this.
void TlsHandshake::Step() {
  if (transport_ == nullptr) return;
  std::string why;
  net::HandshakeFailure failure = net::HandshakeFailure::kTls;
  switch (transport_->Advance(&why, &failure)) {
    case TlsTransport::Progress::kWaiting:
      return;
    case TlsTransport::Progress::kDone: {
      Unlink();
      transport_->handshake_ = nullptr;
      if (counters_ != nullptr) counters_->OnHandshake(*transport_);
      handler_->OnSecured(std::move(transport_));
      return;
    }
    case TlsTransport::Progress::kFailed:
      Unlink();
      if (counters_ != nullptr) counters_->OnFailure(failure);
      transport_->handshake_ = nullptr;
      transport_.reset();
      handler_->OnHandshakeFailed(why);
      return;
  }
}

}  // namespace weft::tls
