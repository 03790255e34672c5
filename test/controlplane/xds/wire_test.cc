#include "controlplane/xds/wire.h"

#include <gtest/gtest.h>

#include <tuple>

namespace weft::ctl::xds {
namespace {

namespace discovery = envoy::service::discovery::v3;

ResourcePtr Make(std::string name, std::string version, std::string value) {
  return std::make_shared<Resource>(
      Resource{std::move(name), std::move(version), std::move(value)});
}

Response Sample() {
  Response r;
  r.type_url = "type.googleapis.com/some.Type";
  r.nonce = "7";
  r.version = "abc";
  r.resources = {Make("a", "v1", "short"), Make("b", "", std::string(70000, 'x')),
                 Make("", "v", "")};
  r.removed = {"gone", ""};
  return r;
}

TEST(Encode, DeltaParsesToWhatWasMeant) {
  discovery::DeltaDiscoveryResponse message;
  ASSERT_TRUE(message.ParseFromString(EncodeResponse(Protocol::kDelta, Sample())));
  EXPECT_EQ(message.system_version_info(), "abc");
  EXPECT_EQ(message.type_url(), "type.googleapis.com/some.Type");
  EXPECT_EQ(message.nonce(), "7");
  ASSERT_EQ(message.resources_size(), 3);
  EXPECT_EQ(message.resources(0).name(), "a");
  EXPECT_EQ(message.resources(0).version(), "v1");
  EXPECT_EQ(message.resources(0).resource().type_url(), "type.googleapis.com/some.Type");
  EXPECT_EQ(message.resources(0).resource().value(), "short");
  EXPECT_EQ(message.resources(1).resource().value().size(), 70000u);
  EXPECT_EQ(message.resources(2).resource().value(), "");
  ASSERT_EQ(message.removed_resources_size(), 2);
  EXPECT_EQ(message.removed_resources(0), "gone");
  EXPECT_TRUE(message.GetReflection()->GetUnknownFields(message).empty());
}

TEST(Encode, StateOfTheWorldParsesToWhatWasMeant) {
  discovery::DiscoveryResponse message;
  ASSERT_TRUE(message.ParseFromString(EncodeResponse(Protocol::kStateOfTheWorld, Sample())));
  EXPECT_EQ(message.version_info(), "abc");
  EXPECT_EQ(message.type_url(), "type.googleapis.com/some.Type");
  EXPECT_EQ(message.nonce(), "7");
  ASSERT_EQ(message.resources_size(), 3);
  EXPECT_EQ(message.resources(0).type_url(), "type.googleapis.com/some.Type");
  EXPECT_EQ(message.resources(0).value(), "short");
  EXPECT_TRUE(message.GetReflection()->GetUnknownFields(message).empty());
}

TEST(Encode, SizeIsAboutWhatTheSessionReckons) {
  Response r = Sample();
  EXPECT_LT(EncodeResponse(Protocol::kDelta, r).size(), 70000u + 400);
}

TEST(Take, Delta) {
  discovery::DeltaDiscoveryRequest message;
  message.set_type_url("t");
  message.set_response_nonce("n");
  message.add_resource_names_subscribe("a");
  message.add_resource_names_unsubscribe("b");
  (*message.mutable_initial_resource_versions())["c"] = "1";
  Request r = TakeRequest(message);
  EXPECT_EQ(r.type_url, "t");
  EXPECT_EQ(r.nonce, "n");
  EXPECT_FALSE(r.nack.has_value());
  EXPECT_EQ(r.subscribe, std::vector<std::string>{"a"});
  EXPECT_EQ(r.unsubscribe, std::vector<std::string>{"b"});
  ASSERT_EQ(r.initial_versions.size(), 1u);
  EXPECT_EQ(r.initial_versions[0].first, "c");
  EXPECT_EQ(r.initial_versions[0].second, "1");
}

TEST(Take, StateOfTheWorld) {
  discovery::DiscoveryRequest message;
  message.set_version_info("v");
  message.set_response_nonce("n");
  message.add_resource_names("a");
  message.add_resource_names("b");
  Request r = TakeRequest(message);
  EXPECT_EQ(r.version_info, "v");
  EXPECT_EQ(r.nonce, "n");
  EXPECT_EQ(r.names, (std::vector<std::string>{"a", "b"}));
}

TEST(Take, RefusalsOfAWeftProxyAreRead) {
  discovery::DeltaDiscoveryRequest message;
  google::rpc::Status& status = *message.mutable_error_detail();
  status.set_code(3);
  status.set_message("2 refused");
  discovery::ResourceError error;
  error.mutable_resource_name()->set_name("outbound|9080||reviews");
  error.mutable_error_detail()->set_message("lb_policy: not supported");
  status.add_details()->PackFrom(error);
  discovery::DiscoveryRequest other;  // a detail of another kind is no refusal
  status.add_details()->PackFrom(other);
  status.add_details()->set_type_url(
      "type.googleapis.com/envoy.service.discovery.v3.ResourceError");
  status.mutable_details(2)->set_value("\xff\xff");  // neither is one that can't be read
  Request r = TakeRequest(message);
  ASSERT_TRUE(r.nack.has_value());
  EXPECT_EQ(r.nack->code, 3);
  EXPECT_EQ(r.nack->message, "2 refused");
  ASSERT_EQ(r.nack->refusals.size(), 1u);
  EXPECT_EQ(r.nack->refusals[0].name, "outbound|9080||reviews");
  EXPECT_EQ(r.nack->refusals[0].field_path, "lb_policy");
  EXPECT_EQ(r.nack->refusals[0].reason, "not supported");
}

TEST(Take, ReasonOfARefusalIsSplitOnlyAtAFieldPath) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"virtual_hosts[1].routes[0].match: missing", "virtual_hosts[1].routes[0].match", "missing"},
      {"can't bind 127.0.0.1:80: in use", "", "can't bind 127.0.0.1:80: in use"},
      {": odd", "", ": odd"},
      {"no colon", "", "no colon"},
      {"", "", ""},
  };
  for (const auto& [text, path, reason] : cases) {
    discovery::DiscoveryRequest message;
    discovery::ResourceError error;
    error.mutable_error_detail()->set_message(text);
    message.mutable_error_detail()->add_details()->PackFrom(error);
    Request r = TakeRequest(message);
    ASSERT_EQ(r.nack->refusals.size(), 1u);
    EXPECT_EQ(r.nack->refusals[0].field_path, path);
    EXPECT_EQ(r.nack->refusals[0].reason, reason);
  }
}

}  // namespace
}  // namespace weft::ctl::xds
