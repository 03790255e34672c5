// HTTP/1 heads and chunked bodies. The first byte chooses what is parsed and where the input is cut in two, so that
// reading in pieces is compared with reading at once: both must agree, and nothing may be read outside the input.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "dataplane/http/h1/head_parser.h"
#include "dataplane/http/h1/serializer.h"

using namespace weft;
using namespace weft::http;

namespace {

#define CHECK(x) \
  if (!(x)) abort()

// A copy of its exact size, so that AddressSanitizer sees a read behind it.
struct Exact {
  explicit Exact(std::string_view s) : data(new char[s.size()]), size(s.size()) {
    if (size > 0) s.copy(data.get(), size);
  }
  std::string_view view(size_t n) const { return {data.get(), n}; }
  std::unique_ptr<char[]> data;
  size_t size;
};

template <typename Head, typename Parse>
void Twice(std::string_view input, size_t cut, Parse parse) {
  Exact all(input);
  h1::HeadParser whole, pieces;
  Head a, b;
  auto ra = parse(whole, all.view(all.size), &a);
  auto rb = parse(pieces, all.view(std::min(cut, all.size)), &b);
  if (rb == h1::HeadParser::Result::kNeedMore) rb = parse(pieces, all.view(all.size), &b);
  // An error is found at its line: the shorter input may not have reached what the longer one trips over, never the
  // other way round.
  CHECK(ra == rb);
  if (ra != h1::HeadParser::Result::kDone) return;
  CHECK(whole.head_bytes() == pieces.head_bytes() && whole.head_bytes() <= all.size);
  CHECK(a.headers.size() == b.headers.size());
  CHECK(whole.chunked() == pieces.chunked());
  if (whole.chunked()) CHECK(a.content_length == kUnknownLength);
}

std::string Unchunk(std::string_view input, size_t cut, bool* ok, size_t* used) {
  Exact all(input);
  h1::ChunkedDecoder d;
  std::string out;
  *ok = false;
  *used = 0;
  for (int half = 0; half < 2; ++half) {
    std::string_view in = half == 0 ? all.view(std::min(cut, all.size))
                                    : std::string_view(all.data.get() + std::min(cut, all.size), all.size - std::min(cut, all.size));
    for (;;) {
      std::string_view data;
      auto r = d.Next(&in, &data);
      if (r == h1::ChunkedDecoder::Result::kData) {
        CHECK(!data.empty());
        out.append(data);
        continue;
      }
      if (r == h1::ChunkedDecoder::Result::kError) return out;
      if (r == h1::ChunkedDecoder::Result::kTrailers) {
        *ok = true;
        *used = static_cast<size_t>(in.data() - all.data.get());
        return out;
      }
      CHECK(in.empty());
      break;
    }
  }
  return out;
}

// What is written must be what is read: no head that we accept can be serialized into one that means something else.
void RoundTrip(std::string_view input) {
  h1::HeadParser p;
  RequestHead head;
  Exact all(input);
  h1::HeadLimits limits;
  if (p.ParseRequest(all.view(all.size), limits, &head) != h1::HeadParser::Result::kDone) return;
  if (head.method == "CONNECT") return;  // written by a tunnel's own code
  RemoveHopByHop(head.headers);
  buffer::Slab slab;
  buffer::SliceBuffer out;
  h1::WriteRequest(head, slab, out);
  std::string text = out.ToString();
  h1::HeadParser again;
  RequestHead head2;
  limits.max_bytes += 4096;
  limits.max_headers += 8;
  if (head.authority.empty()) return;  // HTTP/1.0 without a host
  CHECK(again.ParseRequest(text, limits, &head2) == h1::HeadParser::Result::kDone);
  CHECK(again.head_bytes() == text.size());
  CHECK(head2.method == head.method && head2.path == head.path && head2.authority == head.authority);
  CHECK(head2.content_length == head.content_length && head2.has_body == head.has_body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  size_t cut = data[1];
  h1::HeadLimits limits;
  limits.max_bytes = 4096;
  switch (data[0] % 4) {
    case 0:
      Twice<RequestHead>(input, cut, [&](h1::HeadParser& p, std::string_view s, RequestHead* h) {
        return p.ParseRequest(s, limits, h);
      });
      RoundTrip(input);
      break;
    case 1:
      for (const char* method : {"GET", "HEAD", "CONNECT"}) {
        Twice<ResponseHead>(input, cut, [&](h1::HeadParser& p, std::string_view s, ResponseHead* h) {
          return p.ParseResponse(s, limits, method, h);
        });
      }
      break;
    case 2: {
      bool ok1, ok2;
      size_t used1, used2;
      std::string a = Unchunk(input, input.size(), &ok1, &used1), b = Unchunk(input, cut, &ok2, &used2);
      CHECK(ok1 == ok2 && used1 == used2);
      if (ok1) CHECK(a == b);
      break;
    }
    case 3: {
      Exact all(input);
      h1::TrailerParser t;
      HeaderMap trailers;
      if (t.Parse(all.view(std::min(cut, all.size)), limits, &trailers) == h1::HeadParser::Result::kNeedMore) {
        t.Parse(all.view(all.size), limits, &trailers);
      }
      for (const Header& h : trailers) CHECK(h.id != HeaderId::kContentLength && h.id != HeaderId::kTransferEncoding);
      break;
    }
  }
  return 0;
}
