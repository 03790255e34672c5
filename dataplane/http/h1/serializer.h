#pragma once

#include <cstdint>

#include "dataplane/buffer/slice_buffer.h"
#include "dataplane/http/message.h"

namespace weft::http::h1 {

enum class BodyFraming : uint8_t { kNone, kLength, kChunked, kUntilClose };

// The one writer of HTTP/1 heads: it alone decides framing and writes Connection, Content-Length,
// Transfer-Encoding. Heads handed to it carry no hop-by-hop field (http::RemoveHopByHop). Bytes are
// copied into blocks of `slab`.

// Returns how the body that follows is framed; kNone for one that asks for a tunnel.
BodyFraming WriteRequest(const RequestHead& head, buffer::Slab& slab, buffer::SliceBuffer& out,
                         HeaderCase header_case = HeaderCase::kAsReceived);

struct ResponseOptions {
  Protocol peer = Protocol::kHttp11;  // of the request
  bool to_head = false;               // the request was HEAD
  bool close = false;                 // this is the connection's last message
  HeaderCase header_case = HeaderCase::kAsReceived;
};
BodyFraming WriteResponse(const ResponseHead& head, const ResponseOptions& options,
                          buffer::Slab& slab, buffer::SliceBuffer& out);
// 100, 102, 103.
void WriteInformational(const ResponseHead& head, buffer::Slab& slab, buffer::SliceBuffer& out,
                        HeaderCase header_case = HeaderCase::kAsReceived);

// Moves body bytes from `data` to `out` framed as one chunk.
void WriteChunk(buffer::SliceBuffer& data, buffer::Slab& slab, buffer::SliceBuffer& out);
void WriteLastChunk(const HeaderMap* trailers, buffer::Slab& slab, buffer::SliceBuffer& out,
                    HeaderCase header_case = HeaderCase::kAsReceived);

}  // namespace weft::http::h1
