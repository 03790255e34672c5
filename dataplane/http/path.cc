#include "dataplane/http/path.h"

#include <algorithm>

namespace weft::http {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsUnreserved(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

}  // namespace

bool NeedsNormalizing(std::string_view path) {
  path = path.substr(0, path.find('?'));
  for (size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '%' || c == '\\') return true;
    if (c == '/' && i + 1 < path.size() && (path[i + 1] == '.' || path[i + 1] == '/')) return true;
  }
  return false;
}

void AppendNormalizedPath(std::string_view path, std::string* out) {
  size_t mark = std::min(path.find('?'), path.size());
  std::string_view query = path.substr(mark);
  path = path.substr(0, mark);
  std::string decoded;
  decoded.reserve(path.size());
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '%' && i + 2 < path.size()) {
      int hi = HexDigit(path[i + 1]), lo = HexDigit(path[i + 2]);
      if (hi >= 0 && lo >= 0 && IsUnreserved(hi * 16 + lo)) {
        decoded.push_back(static_cast<char>(hi * 16 + lo));
        i += 2;
        continue;
      }
    }
    decoded.push_back(path[i] == '\\' ? '/' : path[i]);
  }
  // RFC 3986 section 5.2.4, segment by segment; `base` is where this path begins in `out`.
  size_t base = out->size();
  std::string_view in = decoded;
  while (!in.empty()) {
    size_t end = std::min(in.find('/', 1), in.size());
    std::string_view segment = in.substr(0, end);  // with its leading "/"
    bool last = end == in.size();
    in.remove_prefix(end);
    if (segment == "/." || segment == "/..") {
      if (segment == "/..") {
        size_t slash = out->rfind('/');
        out->resize(slash == std::string::npos || slash < base ? base : slash);
      }
      if (last) out->push_back('/');
      continue;
    }
    out->append(segment);
  }
  if (out->size() == base) out->push_back('/');
  out->append(query);
}

void AppendWithMergedSlashes(std::string_view path, std::string* out) {
  size_t mark = std::min(path.find('?'), path.size());
  for (size_t i = 0; i < mark; ++i) {
    if (path[i] == '/' && i > 0 && path[i - 1] == '/') continue;
    out->push_back(path[i]);
  }
  out->append(path.substr(mark));
}

}  // namespace weft::http
