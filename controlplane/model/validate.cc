#include "controlplane/model/validate.h"

#include <arpa/inet.h>

#include <cctype>
#include <set>

#include "api/cpp/names.h"
#include "controlplane/model/convert.h"
#include "controlplane/model/supported.h"
#include "controlplane/model/validate_internal.h"
#include "dataplane/base/strings.h"
#include "istio/networking/v1alpha3/destination_rule.pb.h"
#include "istio/networking/v1alpha3/service_entry.pb.h"
#include "istio/networking/v1alpha3/workload_entry.pb.h"

namespace weft::ctl {
namespace {

bool IsAlnum(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

std::string Upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::string CheckDnsName(std::string_view name) {
  if (name.empty()) return "must not be empty";
  if (name.size() > 253) return StrCat("is longer than 253 characters (", name.size(), ")");
  for (size_t begin = 0, end = 0; end != std::string_view::npos; begin = end + 1) {
    end = name.find('.', begin);
    const std::string_view label = name.substr(begin, end == std::string_view::npos ? end : end - begin);
    if (std::string problem = api::CheckDnsLabel(label); !problem.empty()) return problem;
  }
  return "";
}

namespace validate_internal {

void Issues::Dns(const std::string& path, std::string_view name) {
  if (std::string problem = CheckDnsName(name); !problem.empty()) Error(path, StrCat("\"", name, "\": ", problem));
}

void Issues::Host(const std::string& path, std::string_view host, bool wildcard) {
  if (host.empty()) return Error(path, "a host is required");
  std::string_view name = host;
  if (name.starts_with("*")) {
    if (!wildcard) return Error(path, StrCat("\"", host, "\": a wildcard is not possible here"));
    if (name == "*") return;
    if (!name.starts_with("*.")) {
      return Error(path, StrCat("\"", host, "\": a wildcard stands for whole labels: \"*.", name.substr(1), "\""));
    }
    name.remove_prefix(2);
  }
  Dns(path, name);
}

void Issues::Port(const std::string& path, uint64_t port) {
  if (port < 1 || port > 65535) Error(path, StrCat("expected a port from 1 to 65535, got ", port));
}

void Issues::ShareEverywhere(const std::string& path, const google::protobuf::RepeatedPtrField<std::string>& export_to) {
  for (int i = 0; i < export_to.size(); ++i) {
    if (export_to[i] != "*") {
      Error(StrCat(path, "[", i, "]"),
            StrCat("\"", export_to[i], "\" is not supported by this version: only \"*\", every namespace"));
    }
  }
}

void Issues::Labels(const std::string& path, const google::protobuf::Map<std::string, std::string>& labels) {
  for (const auto& [key, value] : labels) {
    const std::string at = StrCat(path, "[\"", key, "\"]");
    const std::string_view name = std::string_view(key).substr(key.find('/') == std::string::npos ? 0 : key.find('/') + 1);
    auto plain = [](std::string_view text) {
      for (char c : text) {
        if (!IsAlnum(c) && c != '-' && c != '_' && c != '.') return false;
      }
      return text.empty() || (IsAlnum(text.front()) &&
                              IsAlnum(text.back()));
    };
    if (name.empty() || name.size() > 63 || !plain(name)) {
      Error(at, "the name of a label has 1 to 63 letters, digits, '-', '_' or '.', and begins and ends with a letter or digit");
    }
    if (value.size() > 63 || !plain(value)) {
      Error(at, StrCat("\"", value,
                             "\": the value of a label has up to 63 letters, digits, '-', '_' or '.', and begins and "
                             "ends with a letter or digit"));
    }
  }
}

void Issues::Duration(const std::string& path, const google::protobuf::Duration& duration, bool zero) {
  if (zero && duration.seconds() == 0 && duration.nanos() == 0) return;
  if (duration.seconds() < 0 || duration.nanos() < 0 || (duration.seconds() == 0 && duration.nanos() < 1000000)) {
    Error(path, zero ? "expected 0 or at least 1ms" : "expected at least 1ms");
  } else if (duration.seconds() > 86400 * 365) {
    Error(path, "expected at most a year");
  }
}

}  // namespace validate_internal

namespace {

namespace istio = ::istio::networking::v1alpha3;
using validate_internal::Issues;

bool IsAddress(const std::string& text) {
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(AF_INET, text.c_str(), buffer) == 1 || inet_pton(AF_INET6, text.c_str(), buffer) == 1;
}

void CheckWorkload(const istio::WorkloadEntry& entry, const std::string& path, Issues& issues) {
  if (entry.address().empty()) {
    issues.Error(path + ".address", "an address is required");
  } else if (!IsAddress(entry.address())) {
    issues.Error(path + ".address",
                 StrCat("expected an IPv4 or IPv6 address without a port, got \"", entry.address(),
                              "\" (names and unix:// are not supported by this version)"));
  }
  for (const auto& [name, port] : entry.ports()) {
    issues.Port(StrCat(path, ".ports[\"", name, "\"]"), port);
  }
  issues.Labels(path + ".labels", entry.labels());
}

void CheckServicePorts(const istio::ServiceEntry& spec, Issues& issues) {
  if (spec.ports().empty()) issues.Error("spec.ports", "at least one port is required");
  std::set<uint32_t> numbers;
  std::set<std::string> names;
  for (int i = 0; i < spec.ports_size(); ++i) {
    const istio::ServicePort& port = spec.ports(i);
    const std::string path = StrCat("spec.ports[", i, "]");
    issues.Port(path + ".number", port.number());
    if (port.target_port() != 0) issues.Port(path + ".targetPort", port.target_port());
    if (!numbers.insert(port.number()).second) {
      issues.Error(path + ".number", StrCat("port ", port.number(), " is there twice"));
    }
    if (port.name().empty()) {
      issues.Error(path + ".name", "a name is required");
    } else if (std::string problem = api::CheckDnsLabel(port.name()); !problem.empty()) {
      issues.Error(path + ".name", StrCat("\"", port.name(), "\": ", problem));
    } else if (!names.insert(port.name()).second) {
      issues.Error(path + ".name", StrCat("\"", port.name(), "\" is there twice"));
    }
    const std::string protocol = Upper(port.protocol());
    if (protocol.empty()) {
      issues.Error(path + ".protocol", "without a protocol this is TCP, which is not supported by this version: only HTTP");
    } else if (protocol != "HTTP") {
      const bool known = std::set<std::string>{"HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS", "UDP"}.contains(protocol);
      issues.Error(path + ".protocol", StrCat("\"", port.protocol(), "\" ", known ? "is not supported by this version" : "is not a protocol", ": only HTTP"));
    }
  }
}

void CheckServiceEntry(const istio::ServiceEntry& spec, Issues& issues) {
  if (spec.hosts().empty()) issues.Error("spec.hosts", "at least one host is required");
  std::set<std::string> hosts;
  for (int i = 0; i < spec.hosts_size(); ++i) {
    const std::string path = StrCat("spec.hosts[", i, "]");
    issues.Host(path, spec.hosts(i), /*wildcard=*/true);
    if (spec.hosts(i) == "*") issues.Error(path, "a service can't be all hosts");
    if (!hosts.insert(spec.hosts(i)).second) issues.Error(path, StrCat("\"", spec.hosts(i), "\" is there twice"));
  }
  CheckServicePorts(spec, issues);
  if (spec.resolution() != istio::ServiceEntry::STATIC) {
    issues.Error("spec.resolution", StrCat(istio::ServiceEntry::Resolution_Name(spec.resolution()),
                                                 spec.resolution() == istio::ServiceEntry::NONE ? " (the default)" : "",
                                                 " is not supported by this version: only STATIC"));
  }
  if (spec.has_workload_selector()) {
    if (!spec.endpoints().empty()) {
      issues.Error("spec.workloadSelector", "can't stand beside spec.endpoints: one of them says where the instances are");
    }
    if (spec.workload_selector().labels().empty()) {
      issues.Error("spec.workloadSelector.labels", "at least one label is required");
    }
    issues.Labels("spec.workloadSelector.labels", spec.workload_selector().labels());
  } else if (spec.endpoints().empty()) {
    issues.Error("spec", "STATIC resolution needs endpoints or a workloadSelector");
  }
  for (int i = 0; i < spec.endpoints_size(); ++i) {
    const std::string path = StrCat("spec.endpoints[", i, "]");
    CheckWorkload(spec.endpoints(i), path, issues);
    for (const auto& [name, port] : spec.endpoints(i).ports()) {
      bool found = false;
      for (const istio::ServicePort& service_port : spec.ports()) found |= service_port.name() == name;
      if (!found) {
        issues.Error(StrCat(path, ".ports[\"", name, "\"]"), "spec.ports has no port of this name");
      }
    }
  }
  issues.ShareEverywhere("spec.exportTo", spec.export_to());
}

void CheckPolicy(const istio::TrafficPolicy& policy, const std::string& path, Issues& issues) {
  const auto simple = policy.load_balancer().simple();
  if (simple != istio::LoadBalancerSettings::UNSPECIFIED && simple != istio::LoadBalancerSettings::ROUND_ROBIN) {
    issues.Error(path + ".loadBalancer.simple",
                 StrCat(istio::LoadBalancerSettings::SimpleLB_Name(simple),
                              " is not supported by this version: only ROUND_ROBIN"));
  }
  auto not_negative = [&](const char* name, int32_t value) {
    if (value < 0) issues.Error(path + ".connectionPool." + name, StrCat("expected 0 or more, got ", value));
  };
  const auto& tcp = policy.connection_pool().tcp();
  const auto& http = policy.connection_pool().http();
  not_negative("tcp.maxConnections", tcp.max_connections());
  not_negative("http.http1MaxPendingRequests", http.http1_max_pending_requests());
  not_negative("http.http2MaxRequests", http.http2_max_requests());
  not_negative("http.maxRequestsPerConnection", http.max_requests_per_connection());
  not_negative("http.maxRetries", http.max_retries());
  if (tcp.has_connect_timeout()) {
    issues.Duration(path + ".connectionPool.tcp.connectTimeout", tcp.connect_timeout(), /*zero=*/false);
  }
  if (http.has_idle_timeout()) {
    issues.Duration(path + ".connectionPool.http.idleTimeout", http.idle_timeout(), /*zero=*/true);
  }
}

void CheckDestinationRule(const istio::DestinationRule& spec, Issues& issues) {
  issues.Host("spec.host", spec.host(), /*wildcard=*/true);
  CheckPolicy(spec.traffic_policy(), "spec.trafficPolicy", issues);
  std::set<std::string> names;
  for (int i = 0; i < spec.subsets_size(); ++i) {
    const istio::Subset& subset = spec.subsets(i);
    const std::string path = StrCat("spec.subsets[", i, "]");
    if (std::string problem = api::CheckDnsLabel(subset.name()); !problem.empty()) {
      issues.Error(path + ".name", StrCat("\"", subset.name(), "\": ", problem));
    } else if (!names.insert(subset.name()).second) {
      issues.Error(path + ".name", StrCat("subset \"", subset.name(), "\" is there twice"));
    }
    if (subset.labels().empty()) {
      issues.Warning(path + ".labels", "no labels: the subset is all instances of the host");
    }
    issues.Labels(path + ".labels", subset.labels());
    CheckPolicy(subset.traffic_policy(), path + ".trafficPolicy", issues);
  }
  issues.ShareEverywhere("spec.exportTo", spec.export_to());
}

}  // namespace

std::vector<FieldIssue> ValidateObject(const ObjectKey& key, const google::protobuf::Message& spec) {
  Issues issues;
  issues.Dns("metadata.name", key.name);
  if (std::string problem = api::CheckDnsLabel(key.ns); !problem.empty()) {
    issues.Error("metadata.namespace", StrCat("\"", key.ns, "\": ", problem));
  }
  FindUnsupported(spec, "spec",
                  [&](const std::string& path) { issues.Error(path, "not supported by this version"); });
  if (key.kind == kServiceEntry) {
    CheckServiceEntry(static_cast<const istio::ServiceEntry&>(spec), issues);
  } else if (key.kind == kWorkloadEntry) {
    CheckWorkload(static_cast<const istio::WorkloadEntry&>(spec), "spec", issues);
  } else if (key.kind == kVirtualService) {
    validate_internal::CheckVirtualService(static_cast<const istio::VirtualService&>(spec), issues);
  } else if (key.kind == kDestinationRule) {
    CheckDestinationRule(static_cast<const istio::DestinationRule&>(spec), issues);
  }
  return std::move(issues).Take();
}

}  // namespace weft::ctl
