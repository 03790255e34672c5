#include "dataplane/net/transport.h"

#include <algorithm>
#include <cerrno>

namespace weft::net {

int Flush(Transport& transport, buffer::SliceBuffer& out, size_t* written) {
  constexpr size_t kMaxSlices = 64;
  while (!out.empty()) {
    iovec iov[kMaxSlices];
    size_t count = std::min(out.slice_count(), kMaxSlices);
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      iov[i] = {const_cast<char*>(out.slice(i).data()), out.slice(i).size()};
      bytes += out.slice(i).size();
    }
    ssize_t n = transport.Write(iov, static_cast<int>(count));
    if (n > 0) {
      out.Consume(static_cast<size_t>(n));
      *written += static_cast<size_t>(n);
    }
    if (n == -EAGAIN || (n >= 0 && static_cast<size_t>(n) < bytes)) {
      transport.WantWrite();
      return -EAGAIN;
    }
    if (n < 0) return static_cast<int>(n);
  }
  return 0;
}

}  // namespace weft::net
