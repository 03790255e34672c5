#include "dataplane/decide/rewrite.h"

#include "dataplane/base/strings.h"
#include "dataplane/decide/virtual_hosts.h"

namespace weft::decide {
namespace {

// The request's host for the new URI: its port goes when another is set, or when it was the old scheme's default and
// the scheme changes.
std::string_view RequestHost(const Redirect& redirect, std::string_view scheme, const RequestView& request) {
  std::string_view host = HostWithoutPort(request.authority);
  if (host.size() == request.authority.size()) return host;
  std::string_view port = request.authority.substr(host.size() + 1);
  const bool was_default = (port == "80" && request.scheme != "https" && scheme == "https") ||
                           (port == "443" && request.scheme == "https" && scheme == "http");
  return redirect.port != 0 || was_default ? host : request.authority;
}

}  // namespace

void AppendRewrittenPath(const RouteMatcher& match, std::string_view path, std::string_view prefix_rewrite,
                         std::string* out) {
  std::string_view bare = Split(path).path;
  StrAppend(out, prefix_rewrite, path.substr(match.MatchedLength(bare)));
}

void AppendRedirectLocation(const Route& route, const RequestView& request, std::string* out) {
  const Redirect& redirect = *route.action.redirect;
  std::string_view scheme = !redirect.scheme.empty() ? std::string_view(redirect.scheme)
                            : request.scheme.empty() ? std::string_view("http")
                                                     : request.scheme;
  StrAppend(out, scheme, "://",
            redirect.host.empty() ? RequestHost(redirect, scheme, request) : std::string_view(redirect.host));
  if (redirect.port != 0) StrAppend(out, ":", redirect.port);

  const SplitPath split = Split(request.path);
  bool add_query = !redirect.strip_query;
  if (!redirect.path.empty()) {
    out->append(redirect.path);
    if (redirect.path.find('?') != std::string::npos) add_query = false;
  } else if (!redirect.prefix_rewrite.empty()) {
    AppendRewrittenPath(route.match, split.path, redirect.prefix_rewrite, out);
  } else {
    out->append(split.path);
  }
  if (add_query && !split.query.empty()) StrAppend(out, "?", split.query);
}

}  // namespace weft::decide
