#include "api/cpp/unknown.h"

#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include "envoy/config/route/v3/route.pb.h"

namespace weft::api {
namespace {

using envoy::config::route::v3::RouteConfiguration;

TEST(UnknownFieldsTest, AreNamedWithTheirPlace) {
  RouteConfiguration routes;
  routes.add_virtual_hosts()->set_name("a");
  auto* route = routes.add_virtual_hosts()->add_routes()->mutable_route();
  EXPECT_TRUE(FindUnknownFields(routes).empty());
  // hash_policy, twice; regex_rewrite
  auto* unknown = route->GetReflection()->MutableUnknownFields(route);
  unknown->AddLengthDelimited(32, "x");
  unknown->AddLengthDelimited(15, "x");
  unknown->AddLengthDelimited(15, "x");
  routes.GetReflection()->MutableUnknownFields(&routes)->AddVarint(99, 1);
  // As it comes over the wire.
  RouteConfiguration received;
  ASSERT_TRUE(received.ParseFromString(routes.SerializeAsString()));
  EXPECT_EQ(FindUnknownFields(received),
            (std::vector<std::string>{
                "field 99 of envoy.config.route.v3.RouteConfiguration",
                "virtual_hosts[1].routes[0].route: field 15 of envoy.config.route.v3.RouteAction",
                "virtual_hosts[1].routes[0].route: field 32 of envoy.config.route.v3.RouteAction"}));
  EXPECT_EQ(FindUnknownFields(received, 2).size(), 2u);
}

}  // namespace
}  // namespace weft::api
