#include "dataplane/http/message.h"

#include <algorithm>

namespace weft::http {

std::string_view ProtocolName(Protocol p) {
  switch (p) {
    case Protocol::kHttp10:
      return "HTTP/1.0";
    case Protocol::kHttp11:
      return "HTTP/1.1";
    case Protocol::kHttp2:
      return "HTTP/2";
  }
  return "";
}

void RequestHead::Clear() {
  method = authority = path = upgrade = {};
  scheme = "http";
  headers.Clear();
  protocol = Protocol::kHttp11;
  content_length = 0;
  has_body = expect_continue = false;
}

void ResponseHead::Clear() {
  status = 0;
  headers.Clear();
  protocol = Protocol::kHttp11;
  content_length = 0;
  has_body = length_without_body = tunnel = false;
  upgrade = {};
}

void RequestHead::Rebase(const char* from, size_t size, const char* to) {
  headers.Rebase(from, size, to);
  for (std::string_view* v : {&method, &scheme, &authority, &path, &upgrade}) {
    if (v->data() >= from && v->data() < from + size) *v = {to + (v->data() - from), v->size()};
  }
}

void ResponseHead::Rebase(const char* from, size_t size, const char* to) {
  headers.Rebase(from, size, to);
  if (upgrade.data() >= from && upgrade.data() < from + size) {
    upgrade = {to + (upgrade.data() - from), upgrade.size()};
  }
}

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 102:
      return "Processing";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 203:
      return "Non-Authoritative Information";
    case 204:
      return "No Content";
    case 205:
      return "Reset Content";
    case 206:
      return "Partial Content";
    case 207:
      return "Multi-Status";
    case 300:
      return "Multiple Choices";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 407:
      return "Proxy Authentication Required";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 423:
      return "Locked";
    case 424:
      return "Failed Dependency";
    case 425:
      return "Too Early";
    case 426:
      return "Upgrade Required";
    case 428:
      return "Precondition Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 451:
      return "Unavailable For Legal Reasons";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    case 511:
      return "Network Authentication Required";
    default:
      return "Unknown";
  }
}

namespace {

// Calls f with each trimmed, non-empty element of a comma-separated list until it returns false.
template <typename F>
void ForEachToken(std::string_view list, F f) {
  while (!list.empty()) {
    size_t comma = std::min(list.find(','), list.size());
    std::string_view t = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (!t.empty() && (t.front() == ' ' || t.front() == '\t')) t.remove_prefix(1);
    while (!t.empty() && (t.back() == ' ' || t.back() == '\t')) t.remove_suffix(1);
    if (!t.empty() && !f(t)) return;
  }
}

// Never let a peer strip the fields that framing, routing and identity rest on.
bool MayBeNominated(std::string_view name) {
  switch (IdentifyHeader(name)) {
    case HeaderId::kConnection:  // goes anyway
    case HeaderId::kHost:
    case HeaderId::kContentLength:
    case HeaderId::kTransferEncoding:
    case HeaderId::kTe:
    case HeaderId::kXForwardedFor:
    case HeaderId::kXForwardedProto:
      return false;
    default:
      return !EqualsIgnoreCase(name, "x-forwarded-client-cert");
  }
}

}  // namespace

bool ForbiddenInTrailers(HeaderId id) {
  switch (id) {
    case HeaderId::kContentLength:
    case HeaderId::kTransferEncoding:
    case HeaderId::kHost:
    case HeaderId::kConnection:
    case HeaderId::kKeepAlive:
    case HeaderId::kProxyConnection:
    case HeaderId::kTe:
    case HeaderId::kTrailer:
    case HeaderId::kUpgrade:
    case HeaderId::kExpect:
      return true;
    default:
      return false;
  }
}

bool ListHasToken(std::string_view list, std::string_view token) {
  bool found = false;
  ForEachToken(list, [&](std::string_view t) {
    found = EqualsIgnoreCase(t, token);
    return !found;
  });
  return found;
}

void RemoveHopByHop(HeaderMap& headers) {
  // Whoever offers h2c sends its settings along; the offer is not taken and not passed on (RFC 9113
  // section 3.1).
  if (headers.Has(HeaderId::kUpgrade)) headers.Remove("http2-settings");
  if (headers.Has(HeaderId::kConnection)) {
    // Each element of each Connection field nominates a field of this hop only.
    for (size_t i = 0; i < headers.size(); ++i) {
      if (headers[i].id != HeaderId::kConnection) continue;
      const std::string_view list = headers[i].value;
      ForEachToken(list, [&](std::string_view t) {
        if (MayBeNominated(t)) headers.Remove(t);
        return true;
      });
      // Fields before this one may be gone by now.
      while (headers[i].id != HeaderId::kConnection || headers[i].value.data() != list.data()) --i;
    }
    headers.Remove(HeaderId::kConnection);
  }
  headers.Remove(HeaderId::kKeepAlive);
  headers.Remove(HeaderId::kProxyConnection);
  headers.Remove(HeaderId::kUpgrade);
  if (const Header* te = headers.Find(HeaderId::kTe)) {
    bool trailers = ListHasToken(te->value, "trailers");
    headers.Remove(HeaderId::kTe);
    if (trailers) headers.Add(HeaderId::kTe, "trailers");
  }
}

}  // namespace weft::http
