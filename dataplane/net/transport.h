#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <string_view>

#include "dataplane/buffer/slice_buffer.h"
#include "dataplane/net/address.h"

namespace weft::net {

class TlsInfo;

// A connected byte stream: TCP, a Unix socket, later TLS or a stream inside HTTP/2. Protocol code
// sees nothing else. Identity is a property of the transport: `peer_identity` is empty on plain
// ones. Owner: the connection object that drives it. Thread: the worker's. Destroying it closes at
// once; the handler is not called after that.
class Transport {
 public:
  class Handler {
   public:
    // Bytes, the end of the stream or an error can be read. Level-triggered.
    virtual void OnReadable() = 0;
    // Comes once after WantWrite().
    virtual void OnWritable() = 0;

   protected:
    ~Handler() = default;
  };

  virtual ~Transport() = default;

  virtual void set_handler(Handler* handler) = 0;
  // Bytes read; 0 at the end of the stream; -EAGAIN when there is nothing now; else a negative
  // errno.
  virtual ssize_t Read(const iovec* iov, int count) = 0;
  // Bytes written; -EAGAIN when the peer does not take more now; else a negative errno.
  virtual ssize_t Write(const iovec* iov, int count) = 0;
  // Asks for OnWritable once the peer takes bytes again.
  virtual void WantWrite() = 0;
  // Back-pressure: while off, OnReadable does not come. Costs system calls; see design.md
  // section 3.
  virtual void SetReading(bool on) = 0;
  // Ends our direction; the peer's stays open.
  virtual void ShutdownWrite() = 0;
  // Makes destruction send a reset instead of an orderly end.
  virtual void SetResetOnClose() = 0;

  virtual const Address& local_address() = 0;
  virtual const Address& peer_address() const = 0;
  virtual std::string_view peer_identity() const { return {}; }
  // "TLSv1.3"; empty on plain transports.
  virtual std::string_view tls_version() const { return {}; }
  // What the handshake settled; null on plain transports.
  virtual const TlsInfo* tls() const { return nullptr; }
};

// Writes as much of `out` as the peer takes, in one call in the common case, and consumes it.
// Returns 0 when all is written, -EAGAIN when bytes are left (WantWrite was called), else a
// negative errno.
int Flush(Transport& transport, buffer::SliceBuffer& out, size_t* written);

}  // namespace weft::net
