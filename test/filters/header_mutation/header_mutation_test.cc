#include "dataplane/filters/header_mutation/header_mutation.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "test/fakes/fake_upstream.h"
#include "test/fakes/proxy_under_test.h"
#include "test/fakes/raw_client.h"

namespace weft::filters {
namespace {

namespace pb = envoy::extensions::filters::http::header_mutation::v3;
using fakes::FakeUpstream;
using fakes::HeaderOf;
using fakes::ProxyUnderTest;
using fakes::RawClient;
using fakes::StatusOf;

template <typename Proto>
Proto FromText(const std::string& text) {
  Proto p;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &p)) << text;
  return p;
}

std::string Append(const std::string& list, const std::string& name, const std::string& value,
                   const std::string& action = "OVERWRITE_IF_EXISTS_OR_ADD") {
  return list + " { append { header { key: \"" + name + "\" value: \"" + value +
         "\" } append_action: " + action + " } }\n";
}

class HeaderMutationTest : public ::testing::Test {
 protected:
  std::shared_ptr<const HeaderMutationFilter> Compile(const std::string& text) {
    std::vector<api::SourceError> found;
    decide::Errors errors(&found);
    auto f = HeaderMutationFilter::Compile("hm", FromText<pb::HeaderMutation>(text), "typed_config",
                                           &errors);
    for (const auto& e : found) errors_ += e.path + ": " + e.message + "\n";
    return f;
  }
  void Listen(const std::string& config, const std::string& routes = "") {
    auto filter = Compile(config);
    ASSERT_NE(filter, nullptr) << errors_;
    proxy_.route_options().filter_config =
        [](const std::string& name, const google::protobuf::Any& any, const std::string& path,
           decide::Errors* errors) -> std::shared_ptr<const void> {
      pb::HeaderMutationPerRoute m;
      EXPECT_EQ(name, "hm");
      EXPECT_TRUE(any.UnpackTo(&m));
      return HeaderMutations::Compile(m.mutations(), path, errors);
    };
    proxy_.Cluster("c", {up_.address()});
    proxy_.Listen(routes.empty() ? ProxyUnderTest::AllTo("c") : routes,
                  [&](proxy::HttpManagerSpec& s) { s.filters.push_back(filter); });
  }
  std::string Ask(const std::string& path = "/", const std::string& headers = "") {
    RawClient c(proxy_.address());
    c.Send("GET " + path + " HTTP/1.1\r\nHost: s\r\n" + headers + "\r\n");
    return c.ReadResponse();
  }
  std::string Seen(const std::string& name) { return HeaderOf(up_.requests().back(), name); }

  std::string errors_;
  FakeUpstream up_{[](const std::string&, int) {
    return FakeUpstream::Action{FakeUpstream::Ok("x", "X-Up: 1\r\nX-Secret: 2\r\n")};
  }};
  ProxyUnderTest proxy_;
};

TEST_F(HeaderMutationTest, ChangesBothDirections) {
  Listen("mutations {\n" + Append("request_mutations", "x-in", "%REQ(:METHOD)%-%PROTOCOL%") +
         Append("request_mutations", "x-list", "b", "APPEND_IF_EXISTS_OR_ADD") +
         "request_mutations { remove: \"x-drop\" }\n" +
         Append("response_mutations", "x-out", "yes") +
         Append("response_mutations", "x-up", "9", "OVERWRITE_IF_EXISTS") +
         Append("response_mutations", "x-absent", "9", "OVERWRITE_IF_EXISTS") +
         Append("response_mutations", "x-up", "8", "ADD_IF_ABSENT") +
         "response_mutations { remove: \"x-secret\" }\n}");
  std::string r = Ask("/", "X-List: a\r\nX-Drop: 1\r\nX-In: client\r\n");
  EXPECT_EQ(Seen("x-in"), "GET-HTTP/1.1");
  EXPECT_EQ(Seen("x-drop"), "");
  std::string q = up_.requests().back();
  EXPECT_NE(q.find("X-List: a"), std::string::npos);
  EXPECT_NE(q.find("x-list: b"), std::string::npos);
  EXPECT_EQ(HeaderOf(r, "x-out"), "yes");
  EXPECT_EQ(HeaderOf(r, "x-up"), "9");
  EXPECT_EQ(HeaderOf(r, "x-absent"), "");
  EXPECT_EQ(HeaderOf(r, "x-secret"), "");
}

TEST_F(HeaderMutationTest, ChangesLocalRepliesToo) {
  Listen("mutations {\n" + Append("response_mutations", "x-out", "yes") + "}",
         "name: routes\nvirtual_hosts:\n- name: v\n  domains: ['*']\n  routes:\n"
         "  - match: {prefix: /}\n    direct_response: {status: 418}\n");
  std::string r = Ask();
  EXPECT_EQ(StatusOf(r), 418);
  EXPECT_EQ(HeaderOf(r, "x-out"), "yes");
}

std::string PerRoute(const std::string& indent, const std::string& value) {
  return indent + "typed_per_filter_config:\n" + indent + "  hm:\n" + indent +
         "    '@type': "
         "type.googleapis.com/"
         "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute\n" +
         indent + "    mutations:\n" + indent +
         "      request_mutations: [{append: {header: {key: x-level, value: " + value +
         "}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}}]\n";
}

std::string Levels() {
  return "name: routes\nvirtual_hosts:\n- name: v\n  domains: ['*']\n" + PerRoute("  ", "host") +
         "  routes:\n  - match: {prefix: /r}\n    route: {cluster: c}\n" +
         PerRoute("    ", "route") + "  - match: {prefix: /}\n    route: {cluster: c}\n";
}

TEST_F(HeaderMutationTest, TheMostGeneralLevelHasTheLastWordByDefault) {
  Listen("mutations {\n" + Append("request_mutations", "x-level", "filter") + "}", Levels());
  Ask("/r");
  EXPECT_EQ(Seen("x-level"), "host");
  Ask("/other");
  EXPECT_EQ(Seen("x-level"), "host");
}

TEST_F(HeaderMutationTest, TheMostSpecificLevelHasItWhenAsked) {
  Listen("mutations {\n" + Append("request_mutations", "x-level", "filter") +
             "}\nmost_specific_header_mutations_wins: true",
         Levels());
  Ask("/r");
  EXPECT_EQ(Seen("x-level"), "route");
  Ask("/other");
  EXPECT_EQ(Seen("x-level"), "host");
}

TEST_F(HeaderMutationTest, WhatItCannotDoIsAnErrorWithItsPlace) {
  EXPECT_EQ(Compile("mutations { request_mutations { append { header { key: \"bad name\" value: "
                    "\"x\" } } } }"),
            nullptr);
  EXPECT_NE(errors_.find("typed_config.mutations.request_mutations[0]"), std::string::npos)
      << errors_;
  errors_.clear();
  EXPECT_EQ(Compile("mutations { response_mutations { remove: \"a\" } response_mutations { } }"),
            nullptr);
  EXPECT_NE(errors_.find("typed_config.mutations.response_mutations[1]"), std::string::npos)
      << errors_;
  errors_.clear();
  EXPECT_NE(Compile(""), nullptr);
}

}  // namespace
}  // namespace weft::filters
