// Text to objects: what is refused, where, and with which words.
#include "controlplane/ingest/read.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "test/controlplane/bookinfo.h"

namespace weft::ctl {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Problems(const std::string& text, bool warnings = false) {
  const ReadObjectsResult read = ReadObjects(text, "f.yaml");
  std::vector<api::SourceError> errors = read.errors;
  for (const ReadObject& object : read.objects) {
    errors.insert(errors.end(), object.errors.begin(), object.errors.end());
    // An object with an error can't be used, one without can.
    EXPECT_TRUE(!object.key.has_value() || (object.object == nullptr) == api::HasError(object.errors));
  }
  std::vector<std::string> out;
  for (const api::SourceError& error : errors) {
    if (error.warning == warnings) out.push_back(error.ToString());
  }
  return out;
}

std::string Resource(const std::string& kind, const std::string& spec, const std::string& name = "x") {
  return "apiVersion: networking.istio.io/v1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec:\n" + spec;
}
std::string Routes(const std::string& http) { return Resource("VirtualService", "  hosts: [reviews]\n  http:\n" + http); }

TEST(Read, AGoodObject) {
  const ReadObjectsResult read = ReadObjects(testing::ReviewsRoutesYaml(1, 99), "f.yaml");
  ASSERT_EQ(read.objects.size(), 1u);
  EXPECT_TRUE(read.complete);
  const Object& object = *read.objects[0].object;
  EXPECT_EQ(object.key, (ObjectKey{"VirtualService", "default", "reviews"}));
  EXPECT_EQ(object.api_version, "networking.istio.io/v1");
  EXPECT_EQ(object.origin.ToString(), "f.yaml:1");
  EXPECT_NE(object.content_hash, 0u);
  EXPECT_EQ(object.ErrorAt("spec.http[0].route[1].weight", "no").ToString(),
            "f.yaml:11:15: spec.http[0].route[1].weight: no");
}

TEST(Read, ContentHashIsOfTheContent) {
  auto hash = [](const std::string& text) { return ReadObjects(text, "f").objects.at(0).object->content_hash; };
  EXPECT_EQ(hash(testing::ReviewsRoutesYaml(1, 99)), hash("# moved down\n\n" + testing::ReviewsRoutesYaml(1, 99)));
  EXPECT_NE(hash(testing::ReviewsRoutesYaml(1, 99)), hash(testing::ReviewsRoutesYaml(2, 98)));
  const std::string rule = testing::ReviewsRuleYaml();
  std::string labelled = rule;
  labelled.replace(labelled.find("{name: reviews}"), 15, "{name: reviews, labels: {a: b}}");
  EXPECT_NE(hash(rule), hash(labelled));
}

TEST(Read, EveryVersionOfTheApi) {
  for (const char* version : {"v1", "v1beta1", "v1alpha3"}) {
    std::string text = testing::ReviewsRuleYaml();
    text.replace(text.find("/v1\n"), 3, std::string("/") + version);
    EXPECT_THAT(Problems(text), IsEmpty()) << version;
  }
}

TEST(Read, KindAndVersion) {
  EXPECT_THAT(Problems("apiVersion: networking.istio.io/v2\nkind: VirtualService\nmetadata: {name: x}\n"),
              ElementsAre(AllOf(HasSubstr("f.yaml:1:13: apiVersion: \"networking.istio.io/v2\" is not supported"),
                                HasSubstr("networking.istio.io/v1"))));
  EXPECT_THAT(Problems("apiVersion: networking.istio.io/v1\nkind: VirtualServce\nmetadata: {name: x}\n"),
              ElementsAre(HasSubstr("did you mean \"VirtualService\"?")));
  EXPECT_THAT(Problems("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: x}\n"),
              ElementsAre(HasSubstr("kind: \"Gateway\" is not supported by this version")));
  EXPECT_THAT(Problems("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n"),
              ElementsAre(HasSubstr("apiVersion: \"apps/v1\" is not supported")));
  EXPECT_THAT(Problems("kind: VirtualService\n"), ElementsAre(HasSubstr("apiVersion is required")));
  EXPECT_THAT(Problems("just text\n"), ElementsAre(HasSubstr("expected a resource")));
  EXPECT_THAT(Problems("- a\n- b\n"), ElementsAre(HasSubstr("expected a resource")));
  EXPECT_THAT(Problems(""), IsEmpty());
  EXPECT_THAT(Problems("# only a comment\n---\n---\n"), IsEmpty());
}

TEST(Read, UnknownFields) {
  EXPECT_THAT(Problems(Routes("  - rout: [{destination: {host: reviews}}]\n")),
              Contains(AllOf(HasSubstr("f.yaml:7:5: "), HasSubstr("did you mean \"route\"?"))));
  EXPECT_THAT(Problems("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: x}\nspce: {}\nspec: {host: a}\n"),
              ElementsAre(HasSubstr("unknown field \"spce\"; did you mean \"spec\"?")));
}

TEST(Read, ABrokenDocumentLeavesTheOthers) {
  const ReadObjectsResult read = ReadObjects(testing::ServiceYaml("a") + "kind: [oops\n---\n" + testing::ServiceYaml("b"), "f.yaml");
  std::vector<std::string> names;
  for (const ReadObject& object : read.objects) {
    if (object.object != nullptr) names.push_back(object.key->name);
  }
  EXPECT_THAT(names, ElementsAre("a", "b"));
  EXPECT_FALSE(read.complete);
  EXPECT_EQ(read.errors.size(), 1u);
}

TEST(Read, OneBadObjectLeavesTheOthers) {
  const ReadObjectsResult read =
      ReadObjects(testing::ServiceYaml("a") + testing::ServiceYaml("b", "default", 0) + testing::ServiceYaml("c"), "f.yaml");
  ASSERT_EQ(read.objects.size(), 3u);
  EXPECT_NE(read.objects[0].object, nullptr);
  EXPECT_EQ(read.objects[1].object, nullptr);
  EXPECT_EQ(read.objects[1].key->name, "b");
  EXPECT_NE(read.objects[2].object, nullptr);
  EXPECT_TRUE(read.complete) << "it is known which object the bad one is";
}

TEST(Read, TwiceInOneFile) {
  const ReadObjectsResult read = ReadObjects(testing::ServiceYaml("a") + testing::ServiceYaml("a"), "f.yaml");
  EXPECT_NE(read.objects[0].object, nullptr);
  EXPECT_EQ(read.objects[1].object, nullptr);
  EXPECT_THAT(read.objects[1].errors[0].ToString(),
              HasSubstr("ServiceEntry default/a is in this file twice, first at line 1: that one is used"));
}

TEST(Read, CanonicalKinds) {
  EXPECT_EQ(CanonicalKind("vs"), "VirtualService");
  EXPECT_EQ(CanonicalKind("ServiceEntries"), "ServiceEntry");
  EXPECT_EQ(CanonicalKind("pod"), "");
}

struct Case {
  std::string text;
  std::string problem;  // of exactly one error
};

class ReadCase : public ::testing::TestWithParam<Case> {};

TEST_P(ReadCase, IsRefusedByName) {
  EXPECT_THAT(Problems(GetParam().text), ElementsAre(HasSubstr(GetParam().problem))) << GetParam().text;
}

const char kRoute[] = "  - route: [{destination: {host: reviews}}]\n";

INSTANTIATE_TEST_SUITE_P(
    Names, ReadCase,
    ::testing::Values(
        Case{Resource("DestinationRule", "  host: a\n", "Upper"), "f.yaml:3:18: metadata.name: \"Upper\""},
        Case{"apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {}\nspec: {host: a}\n", "metadata.name is required"},
        Case{"apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a, namespace: b.c}\nspec: {host: a}\n",
             "metadata.namespace: \"b.c\""},
        Case{Resource("DestinationRule", "  host: a_b.example\n"), "spec.host: \"a_b.example\""},
        Case{Resource("DestinationRule", "  host: \"*a.example\"\n"), "a wildcard stands for whole labels: \"*.a.example\""},
        Case{Resource("DestinationRule", "  subsets: []\n"), "spec.host: a host is required"}));

INSTANTIATE_TEST_SUITE_P(
    VirtualServices, ReadCase,
    ::testing::Values(
        Case{Resource("VirtualService", "  hosts: [reviews]\n"), "spec.http: at least one rule is required"},
        Case{Resource("VirtualService", "  http:\n" + std::string(kRoute)), "spec.hosts: at least one host is required"},
        Case{Resource("VirtualService", "  hosts: ['*']\n  http:\n" + std::string(kRoute)), "\"*\" is not possible for sidecars"},
        Case{Resource("VirtualService", "  hosts: [a, a]\n  http:\n" + std::string(kRoute)), "spec.hosts[1]: \"a\" is there twice"},
        Case{Resource("VirtualService", "  hosts: [a]\n  gateways: [mesh, gw]\n  http:\n" + std::string(kRoute)),
             "f.yaml:6:20: spec.gateways[1]: \"gw\": gateways are not supported"},
        Case{Routes("  - match: [{uri: {prefix: /}}]\n"), "spec.http[0]: one of route, redirect and directResponse is required"},
        Case{Routes("  - {route: [{destination: {host: a}}], redirect: {uri: /x}}\n"), "only one of route, redirect and directResponse"},
        Case{Routes("  - route: [{destination: {host: a}, weight: -1}, {destination: {host: b}, weight: 5}]\n"),
             "f.yaml:7:46: spec.http[0].route[0].weight: expected 0 or more, got -1"},
        Case{Routes("  - route: [{destination: {host: a}}, {destination: {host: b}}]\n"), "spec.http[0].route: the weights"},
        Case{Routes("  - route: [{weight: 5}]\n"), "spec.http[0].route[0].destination: a destination is required"},
        Case{Routes("  - route: [{destination: {host: '*.a'}}]\n"), "a wildcard is not possible here"},
        Case{Routes("  - route: [{destination: {host: a, port: {number: 70000}}}]\n"), "expected a port from 1 to 65535, got 70000"},
        Case{Routes("  - {match: [{uri: {regex: '['}}], route: [{destination: {host: a}}]}\n"), "match[0].uri.regex: not a regular expression"},
        Case{Routes("  - {match: [{uri: {}}], route: [{destination: {host: a}}]}\n"), "match[0].uri: expected one of exact, prefix and regex"},
        Case{Routes("  - {match: [{uri: {prefix: ''}}], route: [{destination: {host: a}}]}\n"), "match[0].uri.prefix: must not be empty"},
        Case{Routes("  - {match: [{headers: {'a b': {exact: x}}}], route: [{destination: {host: a}}]}\n"), "headers[\"a b\"]: not the name of a header"},
        Case{Routes("  - {match: [{headers: {host: {exact: x}}}], route: [{destination: {host: a}}]}\n"), "match on `authority` instead"},
        Case{Routes("  - {timeout: -1s, route: [{destination: {host: a}}]}\n"), "spec.http[0].timeout"},
        Case{Routes("  - {retries: {attempts: 0, retryOn: 5xx}, route: [{destination: {host: a}}]}\n"), "retries.attempts: 0 means no retries"},
        Case{Routes("  - {retries: {attempts: 1, retryOn: '5xx,gatway-error'}, route: [{destination: {host: a}}]}\n"),
             "did you mean \"gateway-error\"?"},
        Case{Routes("  - {retries: {attempts: 1, perTryTimeout: 100us}, route: [{destination: {host: a}}]}\n"), "perTryTimeout: expected 0 or at least 1ms"},
        Case{Routes("  - redirect: {}\n"), "redirect: leads back to where it came from"},
        Case{Routes("  - redirect: {uri: /x, redirectCode: 200}\n"), "redirectCode: expected 301, 302, 303, 307 or 308, got 200"},
        Case{Routes("  - redirect: {uri: /x, scheme: ftp}\n"), "scheme: expected \"http\" or \"https\""},
        Case{Routes("  - directResponse: {status: 100}\n"), "directResponse.status: expected 200 to 599, got 100"},
        Case{Routes("  - {rewrite: {}, route: [{destination: {host: a}}]}\n"), "rewrite: one of uri and authority is required"},
        Case{Routes("  - {headers: {request: {remove: [host]}}, route: [{destination: {host: a}}]}\n"), "the host can only be set, on a request"},
        Case{Routes("  - {headers: {response: {set: {':status': '200'}}}, route: [{destination: {host: a}}]}\n"), "not the name of a header"},
        Case{Routes("  - {headers: {request: {set: {a: \"b\\nc\"}}}, route: [{destination: {host: a}}]}\n"), "no line ends"},
        Case{Routes("  - {headers: {request: {add: {Connection: close}}}, route: [{destination: {host: a}}]}\n"), "belongs to one connection"},
        Case{Routes("  - {headers: {request: {set: {a: '50%'}}}, route: [{destination: {host: a}}]}\n"), "a percent sign is written %%"},
        Case{Routes("  - {headers: {request: {set: {host: 'a b'}}}, route: [{destination: {host: a}}]}\n"), "request.set[\"host\"]: holds a space"},
        Case{Routes("  - {rewrite: {uri: '/a b'}, route: [{destination: {host: a}}]}\n"), "rewrite.uri: holds a space"},
        Case{Routes("  - redirect: {uri: \"/a\\nb\"}\n"), "redirect.uri: holds a space or a control character"}));

INSTANTIATE_TEST_SUITE_P(
    NotSupported, ReadCase,
    ::testing::Values(
        Case{Routes("  - {fault: {abort: {httpStatus: 500}}, route: [{destination: {host: a}}]}\n"),
             "f.yaml:7:6: spec.http[0].fault: not supported by this version"},
        Case{Routes("  - {mirror: {host: b}, route: [{destination: {host: a}}]}\n"), "spec.http[0].mirror: not supported"},
        Case{Routes("  - {mirrors: [{destination: {host: b}}], route: [{destination: {host: a}}]}\n"), "spec.http[0].mirrors: not supported"},
        Case{Routes("  - {corsPolicy: {allowMethods: [GET]}, route: [{destination: {host: a}}]}\n"), "spec.http[0].corsPolicy: not supported"},
        Case{Routes("  - {delegate: {name: b}, route: [{destination: {host: a}}]}\n"), "spec.http[0].delegate: not supported"},
        Case{Routes("  - {match: [{sourceLabels: {a: b}}], route: [{destination: {host: a}}]}\n"), "match[0].sourceLabels: not supported"},
        Case{Routes("  - {rewrite: {uriRegexRewrite: {match: a, rewrite: b}}, route: [{destination: {host: a}}]}\n"),
             "rewrite.uriRegexRewrite: not supported"},
        Case{Resource("VirtualService", "  hosts: [a]\n  exportTo: [.]\n  http:\n" + std::string(kRoute)), "spec.exportTo[0]: \".\" is not supported"},
        Case{Resource("VirtualService", "  hosts: [a]\n  tcp: [{route: [{destination: {host: a}}]}]\n"), "spec.tcp: not supported"},
        Case{Resource("DestinationRule", "  host: a\n  trafficPolicy: {tls: {mode: DISABLE}}\n"), "spec.trafficPolicy.tls: not supported"},
        Case{Resource("DestinationRule", "  host: a\n  trafficPolicy: {outlierDetection: {interval: 1s}}\n"), "spec.trafficPolicy.outlierDetection: not supported"},
        Case{Resource("DestinationRule", "  host: a\n  trafficPolicy: {loadBalancer: {simple: RANDOM}}\n"),
             "spec.trafficPolicy.loadBalancer.simple: RANDOM is not supported"},
        Case{Resource("DestinationRule", "  host: a\n  subsets: [{name: v, labels: {a: b}, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}}]\n"),
             "spec.subsets[0].trafficPolicy.loadBalancer.consistentHash: not supported"},
        Case{Resource("DestinationRule", "  host: a\n  trafficPolicy: {portLevelSettings: [{port: {number: 1}}]}\n"), "spec.trafficPolicy.portLevelSettings: not supported"}));

INSTANTIATE_TEST_SUITE_P(
    DestinationRules, ReadCase,
    ::testing::Values(
        Case{Resource("DestinationRule", "  host: a\n  subsets: [{name: v, labels: {a: b}}, {name: v, labels: {a: c}}]\n"), "spec.subsets[1].name: subset \"v\" is there twice"},
        Case{Resource("DestinationRule", "  host: a\n  subsets: [{labels: {a: b}}]\n"), "spec.subsets[0].name"},
        Case{Resource("DestinationRule", "  host: a\n  subsets: [{name: v, labels: {'a b': c}}]\n"), "spec.subsets[0].labels[\"a b\"]"},
        Case{Resource("DestinationRule", "  host: a\n  trafficPolicy: {connectionPool: {tcp: {maxConnections: -4}}}\n"), "maxConnections: expected 0 or more, got -4"},
        Case{Resource("DestinationRule", "  host: a\n  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s}}}\n"), "connectTimeout: expected at least 1ms"}));

std::string Entry(const std::string& change_from, const std::string& change_to) {
  std::string text = testing::ServiceYaml("a");
  const size_t at = text.find(change_from);
  EXPECT_NE(at, std::string::npos);
  return text.replace(at, change_from.size(), change_to);
}

INSTANTIATE_TEST_SUITE_P(
    Services, ReadCase,
    ::testing::Values(
        Case{Entry("number: 9080", "number: 0"), "spec.ports[0].number: expected a port from 1 to 65535, got 0"},
        Case{Entry("number: 9080", "number: ten"), "spec.ports[0].number: expected a number, got \"ten\""},
        Case{Entry("name: http,", ""), "spec.ports[0].name: a name is required"},
        Case{Entry("protocol: HTTP", "protocol: TCP"), "spec.ports[0].protocol: \"TCP\" is not supported by this version: only HTTP"},
        Case{Entry("protocol: HTTP", "protocol: HTPP"), "\"HTPP\" is not a protocol"},
        Case{Entry(", protocol: HTTP", ""), "without a protocol this is TCP"},
        Case{Entry("resolution: STATIC", "resolution: DNS"), "spec.resolution: DNS is not supported"},
        Case{Entry("  resolution: STATIC\n", ""), "NONE (the default) is not supported"},
        Case{Entry("workloadSelector: {labels: {app: a}}", "exportTo: ['*']"), "STATIC resolution needs endpoints or a workloadSelector"},
        Case{Entry("workloadSelector: {labels: {app: a}}", "workloadSelector: {labels: {app: a}}\n  endpoints: [{address: 1.2.3.4}]"), "can't stand beside spec.endpoints"},
        Case{Entry("workloadSelector: {labels: {app: a}}", "workloadSelector: {}"), "spec.workloadSelector.labels: at least one label"},
        Case{Entry("workloadSelector: {labels: {app: a}}", "endpoints: [{address: a.example}]"), "spec.endpoints[0].address: expected an IPv4 or IPv6 address"},
        Case{Entry("workloadSelector: {labels: {app: a}}", "endpoints: [{address: 1.2.3.4, ports: {grpc: 1}}]"), "spec.endpoints[0].ports[\"grpc\"]: spec.ports has no port of this name"},
        Case{Entry("workloadSelector:", "addresses: [10.0.0.1]\n  workloadSelector:"), "spec.addresses: not supported"},
        Case{Resource("WorkloadEntry", "  address: 127.0.0.1:80\n"), "spec.address: expected an IPv4 or IPv6 address without a port"},
        Case{Resource("WorkloadEntry", "  labels: {a: b}\n"), "spec.address: an address is required"},
        Case{Resource("WorkloadEntry", "  address: 127.0.0.1\n  ports: {http: 0}\n"), "spec.ports[\"http\"]"}));

TEST(Read, Warnings) {
  EXPECT_THAT(Problems(Routes(std::string(kRoute) + kRoute), /*warnings=*/true), ElementsAre(HasSubstr("spec.http[1]: is never reached")));
  EXPECT_THAT(Problems(Routes("  - {match: [{uri: {regex: a}, ignoreUriCase: true}], route: [{destination: {host: a}}]}\n"), true),
              ElementsAre(HasSubstr("ignoreUriCase")));
  EXPECT_THAT(Problems(Resource("DestinationRule", "  host: a\n  subsets: [{name: v}]\n"), true), ElementsAre(HasSubstr("spec.subsets[0].labels: no labels")));
}

TEST(Read, AllProblemsAtOnce) {
  EXPECT_THAT(Problems(Routes("  - {timeout: 1ns, route: [{destination: {host: A}}]}\n  - {fault: {delay: {fixedDelay: 1s}}}\n")),
              ::testing::SizeIs(4));
}

}  // namespace
}  // namespace weft::ctl
