#include "controlplane/model/hosts.h"

namespace weft::ctl {

std::string FullHost(std::string_view host, std::string_view ns, std::string_view domain_suffix) {
  if (host.find('.') != std::string_view::npos || host == "*") return std::string(host);
  std::string out(host);
  out.append(".").append(ns).append(".svc.").append(domain_suffix);
  return out;
}

std::vector<std::string> HostAliases(std::string_view host, std::string_view client_ns,
                                     std::string_view domain_suffix) {
  std::vector<std::string> out;
  const std::string tail = ".svc." + std::string(domain_suffix);
  if (!host.ends_with(tail)) return out;
  const std::string_view name_and_ns = host.substr(0, host.size() - tail.size());
  const size_t dot = name_and_ns.find('.');
  // Only <service>.<namespace>; headless names of single instances have no short forms.
  if (dot == std::string_view::npos || name_and_ns.find('.', dot + 1) != std::string_view::npos || dot == 0 ||
      host.starts_with("*")) {
    return out;
  }
  out.push_back(std::string(name_and_ns) + ".svc");
  out.emplace_back(name_and_ns);
  if (name_and_ns.substr(dot + 1) == client_ns) out.emplace_back(name_and_ns.substr(0, dot));
  return out;
}

std::vector<std::string> HostAndWildcards(std::string_view host) {
  std::vector<std::string> out{std::string(host)};
  std::string_view rest = host.starts_with("*.") ? host.substr(2) : host;
  for (size_t dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
    rest = rest.substr(dot + 1);
    out.push_back("*." + std::string(rest));
  }
  if (host != "*") out.emplace_back("*");
  return out;
}

std::string NamespaceOfHost(std::string_view host, std::string_view domain_suffix) {
  const std::string tail = ".svc." + std::string(domain_suffix);
  if (!host.ends_with(tail)) return "";
  host.remove_suffix(tail.size());
  const size_t dot = host.rfind('.');
  return dot == std::string_view::npos ? "" : std::string(host.substr(dot + 1));
}

}  // namespace weft::ctl
