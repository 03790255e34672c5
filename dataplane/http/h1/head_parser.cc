#include "dataplane/http/h1/head_parser.h"

#include <array>
#include <cstring>

namespace weft::http::h1 {
namespace {

enum CharClass : uint8_t { kTokenChar = 1, kValueChar = 2, kTargetChar = 4, kHostChar = 8 };

constexpr std::array<uint8_t, 256> MakeClasses() {
  std::array<uint8_t, 256> t{};
  for (int c = 0; c < 256; ++c) {
    uint8_t v = 0;
    bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alnum || (c != 0 && c < 127 &&
                  std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) !=
                      std::string_view::npos)) {
      v |= kTokenChar;
    }
    if (c == '\t' || (c >= 0x20 && c != 0x7f)) v |= kValueChar;
    if (c > 0x20 && c < 0x7f && c != '#') v |= kTargetChar;
    if (alnum || (c != 0 && c < 127 &&
                  std::string_view("-._~%!$&'()*+,;=").find(static_cast<char>(c)) !=
                      std::string_view::npos)) {
      v |= kHostChar;
    }
    t[static_cast<size_t>(c)] = v;
  }
  return t;
}
constexpr std::array<uint8_t, 256> kClasses = MakeClasses();

bool All(std::string_view s, CharClass c) {
  uint8_t ok = c;
  for (char ch : s) ok &= kClasses[static_cast<unsigned char>(ch)];
  return ok != 0;
}

std::string_view TrimOws(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

bool IsHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

enum class LineResult { kLine, kNeedMore, kBad };

// Whether a comma-separated list has an element that is not `token`.
bool ListHasOther(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view element = TrimOws(list.substr(0, comma));
    if (!element.empty() && !EqualsIgnoreCase(element, token)) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

// Finds the next CRLF-terminated line of `buf` from *at; *scan remembers how far was looked.
LineResult TakeLine(std::string_view buf, size_t* at, size_t* scan, std::string_view* line) {
  const char* from = buf.data() + *scan;
  const char* lf = static_cast<const char*>(memchr(from, '\n', buf.size() - *scan));
  if (lf == nullptr) {
    *scan = buf.size();
    return LineResult::kNeedMore;
  }
  size_t end = static_cast<size_t>(lf - buf.data());
  if (end == *at || buf[end - 1] != '\r') return LineResult::kBad;
  *line = buf.substr(*at, end - 1 - *at);
  *at = *scan = end + 1;
  return LineResult::kLine;
}

constexpr std::string_view kBareLf = "a line ends with LF instead of CRLF";

// Splits a field line; empty detail on success.
std::string_view SplitField(std::string_view line, std::string_view* name,
                            std::string_view* value) {
  if (line[0] == ' ' || line[0] == '\t')
    return "a header line starts with a space (obsolete line folding)";
  size_t colon = line.find(':');
  if (colon == std::string_view::npos) return "a header line has no colon";
  *name = line.substr(0, colon);
  if (name->empty()) return "a header has no name";
  if (!All(*name, kTokenChar)) {
    return name->back() == ' ' || name->back() == '\t'
               ? "a space stands between a header name and its colon"
               : "a header name has a forbidden character";
  }
  *value = TrimOws(line.substr(colon + 1));
  if (!All(*value, kValueChar)) return "a header value has a control character";
  return {};
}

}  // namespace

bool IsToken(std::string_view s) { return !s.empty() && All(s, kTokenChar); }
bool IsFieldValue(std::string_view s) { return All(s, kValueChar); }

bool IsAuthority(std::string_view s, bool need_port) {
  std::string_view host, rest;
  if (s.starts_with('[')) {  // IP-literal, RFC 3986 section 3.2.2
    const size_t end = s.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    for (char c : s.substr(1, end - 1)) {
      if (!IsHex(c) && c != ':' && c != '.') return false;
    }
    host = s.substr(0, end + 1);
    rest = s.substr(end + 1);
  } else {
    host = s.substr(0, s.find(':'));
    rest = s.substr(host.size());
    if (!All(host, kHostChar)) return false;
    for (size_t at = host.find('%'); at != std::string_view::npos; at = host.find('%', at + 1)) {
      if (at + 2 >= host.size() || !IsHex(host[at + 1]) || !IsHex(host[at + 2])) return false;
    }
  }
  if (host.empty()) return false;
  if (rest.empty()) return !need_port;
  if (rest[0] != ':' || rest.size() > 6) return false;
  uint32_t port = 0;
  for (char c : rest.substr(1)) {
    if (c < '0' || c > '9') return false;
    port = port * 10 + static_cast<uint32_t>(c - '0');
  }
  if (rest.size() == 1) return !need_port;  // "host:" is host (RFC 3986 section 3.2.3)
  return port <= 65535 && (port > 0 || !need_port);
}

bool HeadParser::Field(std::string_view line, const HeadLimits& limits, HeaderMap* headers) {
  std::string_view name, value;
  std::string_view bad = SplitField(line, &name, &value);
  if (!bad.empty()) return Fail(400, bad);
  if (headers->size() >= limits.max_headers) return Fail(431, "too many headers");
  headers->Add(name, value);
  return true;
}

bool HeadParser::RequestLine(std::string_view line, const HeadLimits& limits,
                             RequestHead* head) {
  size_t sp1 = line.find(' ');
  size_t sp2 = line.rfind(' ');
  if (sp1 == std::string_view::npos || sp2 == sp1)
    return Fail(400, "the request line is not METHOD TARGET VERSION");
  std::string_view method = line.substr(0, sp1), target = line.substr(sp1 + 1, sp2 - sp1 - 1),
                   version = line.substr(sp2 + 1);
  if (!IsToken(method)) return Fail(400, "the method is not a token");
  if (version.size() != 8 || version.substr(0, 5) != "HTTP/" || version[6] != '.' ||
      version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9') {
    return Fail(400, "the request line does not end with an HTTP version");
  }
  if (version[5] != '1') return Fail(505, "HTTP version not supported");
  if (version[7] == '0' && limits.http10 == Http10::kRefuse)
    return Fail(426, "HTTP/1.0 is not served here");
  if (version[7] > '1')
    version = "HTTP/1.1";  // a higher minor version is answered as 1.1 (RFC 9110 section 2.5)
  head->protocol = version[7] == '0' ? Protocol::kHttp10 : Protocol::kHttp11;
  if (target.empty() || !All(target, kTargetChar))
    return Fail(400, "the request target has a forbidden character");
  head->method = method;
  if (method == "CONNECT") {  // authority-form, RFC 9112 section 3.2.3
    if (!IsAuthority(target, true)) return Fail(400, "CONNECT needs host:port as its target");
    head->authority = target;
    head->path = {};
    absolute_form_ = true;
  } else if (target[0] == '/') {
    head->path = target;
  } else if (target == "*") {
    if (method != "OPTIONS") return Fail(400, "only OPTIONS may have the target *");
    head->path = target;
  } else {
    // absolute-form, RFC 9112 section 3.2.2: its authority replaces the Host field.
    size_t sep = target.find("://");
    if (sep == std::string_view::npos)
      return Fail(400, "the request target is neither a path nor a URL");
    std::string_view scheme = target.substr(0, sep);
    if (!EqualsIgnoreCase(scheme, "http") && !EqualsIgnoreCase(scheme, "https")) {
      return Fail(400, "the request target's scheme is neither http nor https");
    }
    std::string_view rest = target.substr(sep + 3);
    size_t slash = rest.find_first_of("/?");
    head->authority = rest.substr(0, slash);
    if (!IsAuthority(head->authority)) return Fail(400, "the request target's host is not valid");
    if (slash == std::string_view::npos) {
      head->path = "/";
    } else if (rest[slash] == '?') {
      return Fail(400, "the request target has a query but no path");
    } else {
      head->path = rest.substr(slash);
    }
    head->scheme = EqualsIgnoreCase(scheme, "https") ? "https" : "http";
    absolute_form_ = true;
  }
  return true;
}

bool HeadParser::StatusLine(std::string_view line, ResponseHead* head) {
  if (line.size() < 12 || line.substr(0, 7) != "HTTP/1." || (line[7] != '0' && line[7] != '1') ||
      line[8] != ' ') {
    return Fail(502, "the status line does not begin with HTTP/1.0 or HTTP/1.1");
  }
  int status = 0;
  for (size_t i = 9; i < 12; ++i) {
    if (line[i] < '0' || line[i] > '9') return Fail(502, "the status code is not three digits");
    status = status * 10 + (line[i] - '0');
  }
  if (status < 100 || status > 599) return Fail(502, "the status code is not within 100 to 599");
  if (line.size() > 12 && line[12] != ' ') return Fail(502, "the status code is not three digits");
  if (!All(line.substr(12), kValueChar))
    return Fail(502, "the reason phrase has a control character");
  head->status = status;
  head->protocol = line[7] == '0' ? Protocol::kHttp10 : Protocol::kHttp11;
  return true;
}

bool HeadParser::Framing(HeaderMap& headers, bool http10, int64_t* length) {
  *length = kUnknownLength;
  const Header* te = headers.Find(HeaderId::kTransferEncoding);
  const Header* cl = headers.Find(HeaderId::kContentLength);
  if (te != nullptr) {
    if (cl != nullptr) return Fail(400, "both Content-Length and Transfer-Encoding");
    if (http10) return Fail(400, "Transfer-Encoding in HTTP/1.0");
    if (headers.Count("transfer-encoding") > 1) return Fail(400, "more than one Transfer-Encoding");
    if (!EqualsIgnoreCase(te->value, "chunked")) {
      // "gzip, chunked" could be relayed only with its coding known; a final coding other than
      // chunked has no end.
      return ListHasToken(te->value, "chunked") ? Fail(501, "a transfer coding other than chunked")
                                                : Fail(501, "Transfer-Encoding is not chunked");
    }
    chunked_ = true;
    headers.Remove(HeaderId::kTransferEncoding);
    return true;
  }
  if (cl != nullptr) {
    if (headers.Count("content-length") > 1) return Fail(400, "more than one Content-Length");
    std::string_view v = cl->value;
    if (v.empty() || v.size() > 18) return Fail(400, "Content-Length is not a number");
    int64_t n = 0;
    for (char c : v) {
      if (c < '0' || c > '9') return Fail(400, "Content-Length is not a number");
      n = n * 10 + (c - '0');
    }
    *length = n;
    headers.Remove(HeaderId::kContentLength);
  }
  return true;
}

bool HeadParser::Connection(const HeaderMap& headers, bool http10) {
  bool close = false, keep = false;
  for (const Header& h : headers) {
    if (h.id != HeaderId::kConnection && h.id != HeaderId::kProxyConnection) continue;
    close |= ListHasToken(h.value, "close");
    keep |= ListHasToken(h.value, "keep-alive");
    has_upgrade_token_ |= h.id == HeaderId::kConnection && ListHasToken(h.value, "upgrade");
  }
  has_close_ = close;
  keep_alive_ = !close && (!http10 || keep);
  return true;
}

bool HeadParser::FinishRequest(const HeadLimits& limits, RequestHead* head) {
  HeaderMap& h = head->headers;
  bool http10 = head->protocol == Protocol::kHttp10;
  const Header* host = h.Find(HeaderId::kHost);
  if (host == nullptr) {
    if (!http10) return Fail(400, "no Host header");
    if (!absolute_form_) {
      if (limits.http10 == Http10::kNeedHost && limits.http10_host.empty())
        return Fail(400, "no Host header");
      head->authority = limits.http10_host;
    }
  } else {
    if (h.Count("host") > 1) return Fail(400, "more than one Host header");
    if (!host->value.empty() && !IsAuthority(host->value))
      return Fail(400, "the Host header is not a valid host");
    if (!absolute_form_) {
      head->authority = host->value;
      if (host->value.empty()) return Fail(400, "the Host header is empty");
    }
    h.Remove(HeaderId::kHost);
  }
  int64_t length;
  if (!Framing(h, http10, &length)) return false;
  Connection(h, http10);
  head->has_body = chunked_ || length > 0;
  head->content_length = chunked_ ? kUnknownLength : (length > 0 ? length : 0);
  if (const Header* e = h.Find(HeaderId::kExpect)) {
    if (h.Count("expect") > 1 || !EqualsIgnoreCase(e->value, "100-continue"))
      return Fail(417, "Expect asks for something unknown");
    head->expect_continue = head->has_body && !http10;
    h.Remove(HeaderId::kExpect);
  }
  return FinishUpgrade(head);
}

bool HeadParser::FinishUpgrade(RequestHead* head) {
  const Header* u = has_upgrade_token_ ? head->headers.Find(HeaderId::kUpgrade) : nullptr;
  if (head->is_connect()) {
    // What a recipient makes of content, or of a second tunnel, is anybody's guess (RFC 9110
    // section 9.3.6).
    if (head->has_body) return Fail(400, "CONNECT has content");
    if (head->protocol == Protocol::kHttp10) return Fail(400, "CONNECT in HTTP/1.0");
    if (u != nullptr) return Fail(400, "CONNECT and Upgrade in one request");
    return true;
  }
  if (u == nullptr) return true;
  if (head->headers.Count("upgrade") > 1) return Fail(400, "more than one Upgrade header");
  // Not over HTTP/1.0 (RFC 9110 section 7.8); not in the middle of a message; and HTTP/2 is never
  // upgraded to (RFC 9113 section 3.1). The request goes on as what it is otherwise.
  if (head->protocol == Protocol::kHttp10 || head->has_body) return true;
  if (!ListHasOther(u->value, "h2c")) return true;
  head->upgrade = u->value;
  return true;
}

bool HeadParser::FinishTunnel(const Asked& asked, ResponseHead* head) {
  if (head->status == 101) {
    // A switch that nobody asked for, or to something else, would leave the two sides with different
    // ideas of what the next bytes are (RFC 9110 section 7.8).
    const Header* u = head->headers.Find(HeaderId::kUpgrade);
    if (asked.upgrade.empty() || head->protocol == Protocol::kHttp10 || !has_upgrade_token_ ||
        u == nullptr || head->headers.Count("upgrade") > 1 ||
        !EqualsIgnoreCase(u->value, asked.upgrade)) {
      return Fail(502, "101 without the upgrade that was asked for");
    }
    if (chunked_) return Fail(502, "a body is announced for a status that has none");
    head->upgrade = u->value;
  }
  head->tunnel = head->has_body = until_close_ = true;
  head->content_length = kUnknownLength;
  chunked_ = keep_alive_ = false;
  return true;
}

bool HeadParser::FinishResponse(const Asked& asked, ResponseHead* head) {
  int64_t length;
  bool http10 = head->protocol == Protocol::kHttp10;
  if (!Framing(head->headers, http10, &length)) return false;
  Connection(head->headers, http10);
  const bool informational = head->status < 200;
  if (informational || head->status == 204) {
    if (chunked_ || length >= 0) {
      // RFC 9112 section 6.1 and RFC 9110 section 8.6 forbid them here: a recipient that believed
      // them would desync.
      if (chunked_ || length > 0)
        return Fail(502, "a body is announced for a status that has none");
      length = kUnknownLength;
    }
  }
  // What stands there about the length of 2xx to CONNECT is ignored (RFC 9110 section 9.3.6).
  if (head->status == 101 ||
      (asked.method == "CONNECT" && head->status >= 200 && head->status < 300)) {
    return FinishTunnel(asked, head);
  }
  if (informational || head->status == 204 || head->status == 304 || asked.method == "HEAD") {
    head->has_body = false;
    head->length_without_body = length >= 0 && head->status >= 200 && head->status != 204;
    head->content_length = head->length_without_body ? length : 0;
    chunked_ = false;
    return true;
  }
  if (chunked_) {
    head->has_body = true;
    head->content_length = kUnknownLength;
  } else if (length >= 0) {
    head->has_body = length > 0;
    head->content_length = length;
  } else {
    head->has_body = true;
    head->content_length = kUnknownLength;
    until_close_ = true;
    keep_alive_ = false;
  }
  return true;
}

HeadParser::Result HeadParser::ParseRequest(std::string_view buf, const HeadLimits& limits,
                                            RequestHead* head) {
  for (;;) {
    std::string_view line;
    switch (TakeLine(buf, &at_, &scan_, &line)) {
      case LineResult::kBad:
        Fail(400, kBareLf);
        return Result::kError;
      case LineResult::kNeedMore:
        if (buf.size() > limits.max_bytes) {
          Fail(431, "the request head is too large");
          return Result::kError;
        }
        // A first byte that can't start a method will not become one (TLS hello, binary protocols).
        if (!start_line_ && at_ == 0 && !buf.empty() && buf[0] != '\r' &&
            !IsToken(buf.substr(0, 1))) {
          Fail(400, "this is not HTTP");
          return Result::kError;
        }
        return Result::kNeedMore;
      case LineResult::kLine:
        break;
    }
    if (at_ > limits.max_bytes) {
      Fail(431, "the request head is too large");
      return Result::kError;
    }
    if (!start_line_) {
      if (line.empty()) {  // RFC 9112 section 2.2: empty lines before the request line are ignored,
                           // within reason
        if (at_ > 8) {
          Fail(400, "empty lines instead of a request");
          return Result::kError;
        }
        continue;
      }
      if (!RequestLine(line, limits, head)) return Result::kError;
      start_line_ = true;
      continue;
    }
    if (line.empty()) return FinishRequest(limits, head) ? Result::kDone : Result::kError;
    if (!Field(line, limits, &head->headers)) return Result::kError;
  }
}

HeadParser::Result HeadParser::ParseResponse(std::string_view buf, const HeadLimits& limits,
                                             const Asked& asked, ResponseHead* head) {
  for (;;) {
    std::string_view line;
    switch (TakeLine(buf, &at_, &scan_, &line)) {
      case LineResult::kBad:
        Fail(502, kBareLf);
        return Result::kError;
      case LineResult::kNeedMore:
        if (buf.size() > limits.max_bytes) {
          Fail(502, "the response head is too large");
          return Result::kError;
        }
        return Result::kNeedMore;
      case LineResult::kLine:
        break;
    }
    if (at_ > limits.max_bytes) {
      Fail(502, "the response head is too large");
      return Result::kError;
    }
    if (!start_line_) {
      if (!StatusLine(line, head)) return Result::kError;
      start_line_ = true;
      continue;
    }
    if (line.empty()) return FinishResponse(asked, head) ? Result::kDone : Result::kError;
    if (!Field(line, limits, &head->headers)) return Result::kError;
  }
}

ChunkedDecoder::Result ChunkedDecoder::Next(std::string_view* in, std::string_view* data,
                                            const HeadLimits& limits) {
  while (!in->empty()) {
    char c = in->front();
    switch (state_) {
      case State::kSize: {
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit >= 0) {
          if (++digits_ > 15) return Fail("a chunk size is too large");
          left_ = left_ * 16 + static_cast<uint64_t>(digit);
        } else if (digits_ == 0) {
          return Fail("a chunk size is not a hexadecimal number");
        } else if (c == ';') {
          state_ = State::kExtension;
        } else if (c == '\r') {
          state_ = State::kSizeLf;
        } else {
          return Fail("a chunk size is not a hexadecimal number");
        }
        ++line_bytes_;
        in->remove_prefix(1);
        break;
      }
      case State::kExtension:
        if (++line_bytes_ > limits.max_chunk_line) return Fail("a chunk extension is too long");
        if (c == '\r') {
          state_ = State::kSizeLf;
        } else if ((kClasses[static_cast<unsigned char>(c)] & kValueChar) == 0) {
          return Fail("a chunk extension has a control character");
        }
        in->remove_prefix(1);
        break;
      case State::kSizeLf: {
        if (c != '\n') return Fail("a chunk size line does not end with CRLF");
        in->remove_prefix(1);
        const uint64_t framing = excess_ + line_bytes_ + 3, free = 16 + 2 * left_;
        excess_ = framing > free ? framing - free : 0;
        if (excess_ > limits.max_chunk_excess) return Fail("chunk framing outweighs the data");
        line_bytes_ = 0;
        digits_ = 0;
        if (left_ == 0) {
          state_ = State::kSize;
          return Result::kTrailers;
        }
        state_ = State::kData;
        break;
      }
      case State::kData: {
        size_t n = in->size() < left_ ? in->size() : static_cast<size_t>(left_);
        *data = in->substr(0, n);
        in->remove_prefix(n);
        left_ -= n;
        if (left_ == 0) state_ = State::kDataCr;
        return Result::kData;
      }
      case State::kDataCr:
        if (c != '\r') return Fail("chunk data is longer than its size");
        in->remove_prefix(1);
        state_ = State::kDataLf;
        break;
      case State::kDataLf:
        if (c != '\n') return Fail("chunk data does not end with CRLF");
        in->remove_prefix(1);
        state_ = State::kSize;
        break;
    }
  }
  return Result::kNeedMore;
}

HeadParser::Result TrailerParser::Parse(std::string_view buf, const HeadLimits& limits,
                                        HeaderMap* trailers) {
  for (;;) {
    std::string_view line;
    LineResult r = TakeLine(buf, &at_, &scan_, &line);
    if (r == LineResult::kBad) {
      error_ = {400, kBareLf};
      return HeadParser::Result::kError;
    }
    if (buf.size() > limits.max_bytes && (r == LineResult::kNeedMore || at_ > limits.max_bytes)) {
      error_ = {431, "trailers are too large"};
      return HeadParser::Result::kError;
    }
    if (r == LineResult::kNeedMore) return HeadParser::Result::kNeedMore;
    if (line.empty()) return HeadParser::Result::kDone;
    std::string_view name, value;
    std::string_view bad = SplitField(line, &name, &value);
    if (!bad.empty()) {
      error_ = {400, bad};
      return HeadParser::Result::kError;
    }
    if (trailers->size() >= limits.max_headers) {
      error_ = {431, "too many trailers"};
      return HeadParser::Result::kError;
    }
    if (!ForbiddenInTrailers(IdentifyHeader(name))) trailers->Add(name, value);
  }
}

}  // namespace weft::http::h1
