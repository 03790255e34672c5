#include "controlplane/model/supported.h"

#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "google/protobuf/descriptor.h"

namespace weft::ctl {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// By message (below istio.networking.v1alpha3) the fields that are acted on. Messages of other packages (durations,
// wrappers) are leaves. Values that are not supported are refused in validate.cc.
const std::map<std::string_view, std::set<std::string_view>>& SupportedFields() {
  static const auto& fields = *new std::map<std::string_view, std::set<std::string_view>>{
      {"ServiceEntry", {"hosts", "ports", "location", "resolution", "endpoints", "workload_selector", "export_to"}},
      {"ServicePort", {"number", "protocol", "name", "target_port"}},
      {"WorkloadSelector", {"labels"}},
      {"WorkloadEntry", {"address", "ports", "labels", "network", "locality", "weight", "service_account"}},
      {"VirtualService", {"hosts", "gateways", "http", "export_to"}},
      {"HTTPRoute",
       {"name", "match", "route", "redirect", "direct_response", "rewrite", "timeout", "retries", "headers"}},
      {"HTTPMatchRequest",
       {"name", "uri", "scheme", "method", "authority", "headers", "port", "query_params", "ignore_uri_case",
        "without_headers"}},
      {"StringMatch", {"exact", "prefix", "regex"}},
      {"HTTPRouteDestination", {"destination", "weight", "headers"}},
      {"Destination", {"host", "subset", "port"}},
      {"PortSelector", {"number"}},
      {"HTTPRedirect", {"uri", "authority", "port", "derive_port", "scheme", "redirect_code", "prefix_rewrite"}},
      {"HTTPDirectResponse", {"status", "body"}},
      {"HTTPBody", {"string", "bytes"}},
      {"HTTPRewrite", {"uri", "authority"}},
      {"HTTPRetry", {"attempts", "per_try_timeout", "retry_on", "backoff"}},
      {"Headers", {"request", "response"}},
      {"Headers.HeaderOperations", {"set", "add", "remove"}},
      {"DestinationRule", {"host", "traffic_policy", "subsets", "export_to"}},
      {"Subset", {"name", "labels", "traffic_policy"}},
      {"TrafficPolicy", {"load_balancer", "connection_pool"}},
      {"LoadBalancerSettings", {"simple"}},
      {"ConnectionPoolSettings", {"tcp", "http"}},
      {"ConnectionPoolSettings.TCPSettings", {"max_connections", "connect_timeout"}},
      {"ConnectionPoolSettings.HTTPSettings",
       {"http1_max_pending_requests", "http2_max_requests", "max_requests_per_connection", "max_retries",
        "idle_timeout"}},
  };
  return fields;
}

constexpr std::string_view kPackage = "istio.networking.v1alpha3.";

}  // namespace

void FindUnsupported(const Message& message, const std::string& path,
                     const std::function<void(const std::string& path)>& report) {
  const std::string& full_name = message.GetDescriptor()->full_name();
  if (!full_name.starts_with(kPackage)) return;
  auto supported = SupportedFields().find(std::string_view(full_name).substr(kPackage.size()));
  const auto* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> set;
  reflection->ListFields(message, &set);
  for (const FieldDescriptor* field : set) {
    const std::string field_path = path + "." + field->json_name();
    if (supported == SupportedFields().end() || !supported->second.contains(field->name())) {
      report(field_path);
    } else if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      continue;
    } else if (field->is_map()) {
      // Entries are messages {key, value}; a path names the entry by its key.
      const FieldDescriptor* value = field->message_type()->map_value();
      if (value->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
        const Message& entry = reflection->GetRepeatedMessage(message, field, i);
        const std::string key = entry.GetReflection()->GetString(entry, field->message_type()->map_key());
        FindUnsupported(entry.GetReflection()->GetMessage(entry, value), field_path + "[\"" + key + "\"]", report);
      }
    } else if (field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
        FindUnsupported(reflection->GetRepeatedMessage(message, field, i),
                        field_path + "[" + std::to_string(i) + "]", report);
      }
    } else {
      FindUnsupported(reflection->GetMessage(message, field), field_path, report);
    }
  }
}

}  // namespace weft::ctl
