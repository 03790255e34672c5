#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/model/object.h"

namespace weft::ctl {

// What is wrong with an object, by the path of the field: "spec.http[0].route[1].weight".
struct FieldIssue {
  std::string path;
  std::string message;
  bool warning = false;
};

// Rules that one object must keep by itself: names, hosts, ports, weights, values, and that it uses nothing that this
// version does not do. What refers to other objects is checked where they are known (ingest/object_store.h). `spec` is
// of the message type of the kind. Pure.
std::vector<FieldIssue> ValidateObject(const ObjectKey& key, const google::protobuf::Message& spec);

// Lower-case DNS name: labels by RFC 1123, dots between them, at most 253 characters. Empty when it is fine.
std::string CheckDnsName(std::string_view name);

// "a, b,c" -> a, b, c: retryOn.
std::vector<std::string> SplitList(std::string_view text);

}  // namespace weft::ctl
