// Shared by validate.cc and validate_virtual_service.cc.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controlplane/model/validate.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/map.h"
#include "google/protobuf/repeated_field.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"

namespace weft::ctl::validate_internal {

// Collects issues, and has the checks that several kinds share. A value on the stack of ValidateObject.
class Issues {
 public:
  void Error(const std::string& path, std::string message) { issues_.push_back({path, std::move(message), false}); }
  void Warning(const std::string& path, std::string message) { issues_.push_back({path, std::move(message), true}); }

  void Dns(const std::string& path, std::string_view name);
  void Host(const std::string& path, std::string_view host, bool wildcard);
  void Port(const std::string& path, uint64_t port);
  void Labels(const std::string& path, const google::protobuf::Map<std::string, std::string>& labels);
  void ShareEverywhere(const std::string& path, const google::protobuf::RepeatedPtrField<std::string>& export_to);
  // `zero`: 0 is allowed, too.
  void Duration(const std::string& path, const google::protobuf::Duration& duration, bool zero);

  std::vector<FieldIssue> Take() && { return std::move(issues_); }

 private:
  std::vector<FieldIssue> issues_;
};

void CheckVirtualService(const istio::networking::v1alpha3::VirtualService& spec, Issues& issues);

}  // namespace weft::ctl::validate_internal
