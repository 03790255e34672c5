// HTTP/1 messages read by our parser and by another one (http-parser, the library that Node.js had until version 12). Ours may refuse
// more; what it takes, the other one must take with the same meaning: method, target, number of fields, framing, body, where the
// message ends. The first byte chooses request or response.
//
// Differences that are no finding:
// - http-parser has a fixed list of methods; ours takes any token (RFC 9110 section 9.1);
// - it refuses minor versions above 1 in places, and reads "HTTP/1.9" as that; ours answers as 1.1 (RFC 9110 section 2.5);
// - with Upgrade or CONNECT it stops at the end of the head and calls the rest another protocol, before the peer has agreed;
// - it folds a target's grammar into a state machine of its own: characters that RFC 3986 forbids pass in both, others differ, so
//   only what both take is compared;
// - it reads trailers as header fields, framing fields among them; ours drops those (RFC 9110 section 6.5.1), so messages with
//   trailers are left out;
// - it refuses a tab around a length, which is optional white space (RFC 9110 section 5.5);
// - it takes a name that merely begins with that of a framing field ("Transfer-EncodingX") for the field itself;
// - it reads a body behind 204 and 304 where a length is announced (RFC 9112 section 6.3 says there is none), unless it is told.
#include <http_parser.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "dataplane/http/h1/head_parser.h"

using namespace weft::http;

namespace {

#define CHECK(x) \
  if (!(x)) {    \
    fprintf(stderr, "%s\n", #x); \
    abort();     \
  }

struct Other {
  std::string target, body;
  size_t fields = 0;
  bool head_done = false, done = false;
};

Other* Of(http_parser* p) { return static_cast<Other*>(p->data); }

// Reads at most one message; where it stopped.
size_t ReadByOther(std::string_view in, http_parser_type type, http_parser* p, Other* o) {
  http_parser_init(p, type);
  p->data = o;
  http_parser_settings s;
  http_parser_settings_init(&s);
  s.on_url = [](http_parser* q, const char* at, size_t n) {
    Of(q)->target.append(at, n);
    return 0;
  };
  s.on_header_field = [](http_parser* q, const char* at, size_t n) { return 0; };
  s.on_headers_complete = [](http_parser* q) {
    Of(q)->head_done = true;
    return q->type == HTTP_RESPONSE && (q->status_code == 204 || q->status_code == 304) ? 1 : 0;
  };
  s.on_body = [](http_parser* q, const char* at, size_t n) {
    Of(q)->body.append(at, n);
    return 0;
  };
  s.on_message_complete = [](http_parser* q) {
    Of(q)->done = true;
    http_parser_pause(q, 1);
    return 0;
  };
  return http_parser_execute(p, &s, in.data(), in.size());
}

// Ours: the body behind the head. False when it is not whole or is refused.
bool ReadBody(std::string_view rest, bool chunked, int64_t length, std::string* body, size_t* used) {
  if (!chunked) {
    if (rest.size() < static_cast<size_t>(length)) return false;
    body->assign(rest.substr(0, static_cast<size_t>(length)));
    *used = static_cast<size_t>(length);
    return true;
  }
  h1::ChunkedDecoder d;
  std::string_view in = rest, data;
  for (;;) {
    auto r = d.Next(&in, &data);
    if (r == h1::ChunkedDecoder::Result::kData) {
      body->append(data);
    } else if (r == h1::ChunkedDecoder::Result::kTrailers) {
      break;
    } else {
      return false;
    }
  }
  h1::TrailerParser t;
  HeaderMap trailers;
  if (t.Parse(in, {}, &trailers) != h1::HeadParser::Result::kDone || t.bytes() != 2) return false;
  *used = rest.size() - in.size() + t.bytes();
  return true;
}

// The other one refuses what stands in the list above.
bool RefusesMore(const http_parser& p, std::string_view in) {
  switch (HTTP_PARSER_ERRNO(&p)) {
    case HPE_INVALID_VERSION:
    case HPE_INVALID_URL:
      return true;
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
      return in.find('\t') != std::string_view::npos;
    default:
      return false;
  }
}

bool Known(std::string_view method) {
#define XX(num, name, string) \
  if (method == #string) return true;
  HTTP_METHOD_MAP(XX)
#undef XX
  return false;
}

// Whether a field's name is longer than one that the other parser knows, and begins with it.
bool HasLongName(const HeaderMap& headers) {
  for (const Header& h : headers) {
    for (std::string_view name :
         {"transfer-encoding", "content-length", "connection", "proxy-connection", "upgrade"}) {
      if (h.name.size() > name.size() && EqualsIgnoreCase(h.name.substr(0, name.size()), name)) return true;
    }
  }
  return false;
}

// The other parser takes a tab behind "chunked", "keep-alive" or "close" for part of the name; it is white
// space that does not count (RFC 9110 section 5.6.3).
bool TabInHead(std::string_view in, const h1::HeadParser& p) {
  return in.substr(0, p.head_bytes()).find('\t') != std::string_view::npos;
}

// In a Connection list the other parser loses what stands behind an element that is empty, begins with
// something else than a letter or digit, is a beginning of a name that it knows ("U,keep-alive"), or
// stands behind a tab. RFC 9110 sections 5.6.1.2 and 5.6.3 want all of these read over. Hence only lists
// of one element, or of names that both know, are compared.
bool ListIsReadAlike(const HeaderMap& headers) {
  for (const Header& h : headers) {
    if (h.id != HeaderId::kConnection || h.value.find(',') == std::string_view::npos) continue;
    for (std::string_view rest = h.value;;) {
      size_t comma = rest.find(',');
      std::string_view element = rest.substr(0, comma);
      while (element.starts_with(' ')) element.remove_prefix(1);
      while (element.ends_with(' ')) element.remove_suffix(1);
      if (!EqualsIgnoreCase(element, "keep-alive") && !EqualsIgnoreCase(element, "close") &&
          !EqualsIgnoreCase(element, "upgrade")) {
        return false;
      }
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return true;
}

void Request(std::string_view in) {
  h1::HeadParser p;
  RequestHead head;
  h1::HeadLimits limits;
  if (p.ParseRequest(in, limits, &head) != h1::HeadParser::Result::kDone) return;
  if (!Known(head.method) || head.wants_tunnel() || HasLongName(head.headers)) return;
  for (const Header& h : head.headers) {
    if (h.id == HeaderId::kUpgrade) return;
  }
  if (p.chunked() && TabInHead(in, p)) return;
  std::string body;
  size_t used = 0;
  if (!ReadBody(in.substr(p.head_bytes()), p.chunked(), head.has_body ? head.content_length : 0, &body, &used)) return;
  http_parser other;
  Other o;
  size_t stopped = ReadByOther(in, HTTP_REQUEST, &other, &o);
  if (RefusesMore(other, in)) return;
  CHECK(o.head_done);
  CHECK(o.done);
  CHECK(http_method_str(static_cast<http_method>(other.method)) == head.method);
  CHECK(o.target.ends_with(head.path) || head.path == "/");
  CHECK(o.body == body);
  CHECK(stopped + 1 >= p.head_bytes() + used && stopped <= p.head_bytes() + used);  // paused on its last byte
  if (other.http_minor <= 1) {
    CHECK((http_should_keep_alive(&other) != 0) == p.keep_alive() ||
          head.headers.Has(HeaderId::kProxyConnection) || TabInHead(in, p) ||
          !ListIsReadAlike(head.headers));
  }
}

void Response(std::string_view in) {
  h1::HeadParser p;
  ResponseHead head;
  if (p.ParseResponse(in, {}, "GET", &head) != h1::HeadParser::Result::kDone) return;
  if (head.status < 200 || p.until_close() || head.headers.Has(HeaderId::kUpgrade)) return;
  if (HasLongName(head.headers)) return;
  if (p.chunked() && TabInHead(in, p)) return;
  std::string body;
  size_t used = 0;
  if (!ReadBody(in.substr(p.head_bytes()), p.chunked(), head.has_body ? head.content_length : 0, &body, &used)) return;
  http_parser other;
  Other o;
  size_t stopped = ReadByOther(in, HTTP_RESPONSE, &other, &o);
  if (RefusesMore(other, in)) return;
  CHECK(o.head_done && o.done);
  CHECK(other.status_code == static_cast<unsigned>(head.status));
  CHECK(o.body == body);
  CHECK(stopped + 1 >= p.head_bytes() + used && stopped <= p.head_bytes() + used);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 16384) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    Request(input);
  } else {
    Response(input);
  }
  return 0;
}
