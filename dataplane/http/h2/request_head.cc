#include "dataplane/http/h2/request_head.h"

#include <algorithm>
#include <cstring>

#include "dataplane/http/h1/head_parser.h"

namespace weft::http::h2 {
namespace {

// As in HTTP/1's request line: no space, no control character, nothing beyond ASCII, no fragment.
bool IsPath(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
}

// One field (RFC 9113 section 8.2.3): HTTP/1 knows no crumbs.
void JoinCookies(Arena& arena, HeaderMap& headers) {
  size_t count = 0, size = 0;
  for (const Header& h : headers) {
    if (h.id != HeaderId::kCookie) continue;
    ++count;
    size += h.value.size() + 2;
  }
  if (count < 2) return;
  char* out = arena.Allocate(size);
  char* p = out;
  for (const Header& h : headers) {
    if (h.id != HeaderId::kCookie) continue;
    if (p != out) {
      *p++ = ';';
      *p++ = ' ';
    }
    memcpy(p, h.value.data(), h.value.size());
    p += h.value.size();
  }
  headers.Set(HeaderId::kCookie, {out, static_cast<size_t>(p - out)});
}

}  // namespace

void RequestHeadBuilder::Add(std::string_view name, std::string_view value, RequestHead* head) {
  if (name.empty() || name[0] != ':') {
    head->headers.Add(name, value);
  } else if (name == ":method") {
    head->method = value;
  } else if (name == ":path") {
    head->path = value;
  } else if (name == ":authority") {
    head->authority = value;
    has_authority_ = true;
  } else if (name == ":scheme") {
    head->scheme = value;
  } else if (name == ":protocol") {
    protocol_ = value;
  }
}

HeadProblem RequestHeadBuilder::CheckTarget(RequestHead* head) {
  HeaderMap& h = head->headers;
  if (!h1::IsToken(head->method)) return {400, "the method is not a token"};
  // What both say must be one: who looks at the other would see another request.
  if (const Header* host = h.Find(HeaderId::kHost)) {
    if (h.Count("host") > 1) return {400, "more than one Host header"};
    if (has_authority_ && !EqualsIgnoreCase(host->value, head->authority)) {
      return {400, ":authority and the Host header differ"};
    }
    head->authority = host->value;
    h.Remove(HeaderId::kHost);
  }
  const bool connect = head->method == "CONNECT";
  // A plain CONNECT names host and port (RFC 9113 section 8.5).
  if (!h1::IsAuthority(head->authority, connect && protocol_.empty()))
    return {400, "the authority is not a valid host"};
  if (connect && protocol_.empty()) return {};
  if (!EqualsIgnoreCase(head->scheme, "http") && !EqualsIgnoreCase(head->scheme, "https")) {
    return {400, "the scheme is neither http nor https"};
  }
  head->scheme = EqualsIgnoreCase(head->scheme, "https") ? "https" : "http";
  if (head->path.empty() || !IsPath(head->path)) {
    return {400, "the path has a forbidden character"};
  }
  if (head->path == "*" ? head->method != "OPTIONS" : head->path[0] != '/') {
    return {400, "the path does not begin with /"};
  }
  if (!protocol_.empty()) {  // RFC 8441 section 4
    if (!connect) return {400, ":protocol without CONNECT"};
    if (!h1::IsToken(protocol_)) return {400, ":protocol is not a token"};
    head->method = "GET";
    head->upgrade = protocol_;
  }
  return {};
}

HeadProblem RequestHeadBuilder::CheckFields(Arena& arena, RequestHead* head) {
  HeaderMap& h = head->headers;
  for (const Header& f : h) {
    if (!h1::IsToken(f.name)) return {400, "a header name has a forbidden character"};
    if (!h1::IsFieldValue(f.value)) return {400, "a header value has a control character"};
    switch (f.id) {  // RFC 9113 section 8.2.2
      case HeaderId::kConnection:
      case HeaderId::kKeepAlive:
      case HeaderId::kProxyConnection:
      case HeaderId::kTransferEncoding:
      case HeaderId::kUpgrade:
        return {400, "a field that belongs to HTTP/1 connections"};
      default:
        break;
    }
  }
  if (h.Has(HeaderId::kCookie)) JoinCookies(arena, h);
  return {};
}

HeadProblem RequestHeadBuilder::Finish(bool end_stream, Arena& arena, RequestHead* head) {
  head->protocol = Protocol::kHttp2;
  if (HeadProblem p = CheckTarget(head)) return p;
  if (HeadProblem p = CheckFields(arena, head)) return p;
  HeaderMap& h = head->headers;
  int64_t length = kUnknownLength;
  if (const Header* cl = h.Find(HeaderId::kContentLength)) {
    if (h.Count("content-length") > 1) return {400, "more than one Content-Length"};
    if (cl->value.empty() || cl->value.size() > 18 ||
        !std::all_of(cl->value.begin(), cl->value.end(),
                     [](char c) { return c >= '0' && c <= '9'; })) {
      return {400, "Content-Length is not a number"};
    }
    length = 0;
    for (char c : cl->value) length = length * 10 + (c - '0');
    h.Remove(HeaderId::kContentLength);
  }
  if (head->wants_tunnel()) {
    if (length != kUnknownLength) return {400, "Content-Length with a request for a tunnel"};
    head->has_body = false;
    head->content_length = 0;
  } else {
    head->has_body = !end_stream && length != 0;
    head->content_length = head->has_body ? length : 0;
  }
  if (const Header* e = h.Find(HeaderId::kExpect)) {
    if (!EqualsIgnoreCase(e->value, "100-continue")) {
      return {417, "Expect asks for something unknown"};
    }
    head->expect_continue = head->has_body;
    h.Remove(HeaderId::kExpect);
  }
  return {};
}

}  // namespace weft::http::h2
