#include "tools/weftctl/dev/mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cstdlib>
#include <filesystem>

#include "api/cpp/yaml.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "istio/networking/v1alpha3/service_entry.pb.h"
#include "istio/networking/v1alpha3/workload_entry.pb.h"
#include "tools/weftctl/dev/addresses.h"
#include "tools/weftctl/dev/files.h"
#include "tools/weftctl/dev/launch.h"

namespace weft::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kShop = R"(
name: shop
configDirectory: .
workloads:
- name: front
  command: [./front, "--peer=${REVIEWS_HOSTNAME}:$REVIEWS_SERVICE_PORT"]
  ports: [{number: 9080}]
- name: reviews
  version: v1
  serviceAccount: reviewer
  command: [./reviews]
  ports: [{number: 9080, name: http}]
  replicas: 2
- name: reviews
  version: v2
  serviceAccount: reviewer
  command: [./reviews]
  ports: [{number: 9080, name: http}]
  env: {GREETING: "hi $POD_NAME"}
)";

class MeshTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("mesh_test." + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  bool Read(const std::string& text, const MeshReadOptions& options = {}) {
    errors_.clear();
    plan_ = {};
    return ReadMesh(text, (folder_ / "mesh.yaml").string(), options, &plan_, &errors_);
  }
  // The one error that `text` has.
  std::string ErrorOf(const std::string& text) {
    EXPECT_FALSE(Read(text)) << text;
    std::string out;
    for (const auto& error : errors_) out += error.ToString() + "\n";
    const std::string prefix = (folder_ / "mesh.yaml").string();
    for (size_t at; (at = out.find(prefix)) != std::string::npos;)
      out.replace(at, prefix.size(), "mesh.yaml");
    return out;
  }
  // kShop with one line changed.
  static std::string Changed(const std::string& from, const std::string& to) {
    std::string text = kShop;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }

  std::filesystem::path folder_;
  MeshPlan plan_;
  std::vector<api::SourceError> errors_;
};

TEST_F(MeshTest, EachReplicaGetsItsAddressesAndNames) {
  ASSERT_TRUE(Read(kShop)) << api::ToString(errors_);
  ASSERT_EQ(plan_.instances.size(), 4u);
  const Instance& second = plan_.instances[2];
  EXPECT_EQ(second.name, "reviews-v1-2");
  EXPECT_EQ(second.program_address, "127.0.1.3");
  EXPECT_EQ(second.sidecar_address, "127.0.2.3");
  EXPECT_EQ(second.outbound_address, "127.0.3.3");
  EXPECT_EQ(second.node_id, "sidecar~127.0.2.3~reviews-v1-2.default~default.svc.cluster.local");
  EXPECT_EQ(second.spiffe_id, "spiffe://cluster.local/ns/default/sa/reviewer");
  EXPECT_EQ(second.labels.at("app"), "reviews");
  EXPECT_EQ(second.labels.at("version"), "v1");
  EXPECT_EQ(plan_.instances[3].name, "reviews-v2-1");
  EXPECT_EQ(plan_.xds_address, "127.0.0.1:15010");
  EXPECT_EQ(plan_.controller_admin_address, "127.0.0.1:15014");
}

TEST_F(MeshTest, AnotherLoopbackRangeMovesEverything) {
  ASSERT_TRUE(Read(kShop, {"127.9", ""}));
  EXPECT_EQ(plan_.instances[0].sidecar_address, "127.9.2.1");
  EXPECT_EQ(plan_.xds_address, "127.9.0.1:15010");
  for (const auto& wanted : WantedAddresses(plan_))
    EXPECT_TRUE(wanted.host.starts_with("127.9.")) << wanted.host;
}

TEST_F(MeshTest, ServicesCollectTheirVersionsAndGetListenersInOrder) {
  ASSERT_TRUE(Read(kShop));
  ASSERT_EQ(plan_.services.size(), 2u);
  EXPECT_EQ(plan_.services[1].host, "reviews.default.svc.cluster.local");
  EXPECT_EQ(plan_.services[1].selector, (std::map<std::string, std::string>{{"app", "reviews"}}));
  const auto listeners = ServiceListeners(plan_);
  EXPECT_EQ(listeners.at("front.default.svc.cluster.local:9080"), 15101);
  EXPECT_EQ(listeners.at("reviews.default.svc.cluster.local:9080"), 15102);
}

TEST_F(MeshTest, AServiceOfSeveralAppsIsSelectedByALabelOfItsOwn) {
  ASSERT_TRUE(Read(R"(
configDirectory: .
workloads:
- {name: old, service: store, command: [x], ports: [{number: 80}]}
- {name: new, service: store, command: [x], ports: [{number: 80}]}
- {name: store, service: other, command: [x], ports: [{number: 81}]}
)")) << api::ToString(errors_);
  const auto& selector = plan_.services[0].selector;
  ASSERT_EQ(selector.size(), 1u);
  const auto& [label, value] = *selector.begin();
  EXPECT_EQ(plan_.instances[0].labels.at(label), value);
  EXPECT_EQ(plan_.instances[1].labels.at(label), value);
  const auto third = plan_.instances[2].labels.find(label);
  EXPECT_TRUE(third == plan_.instances[2].labels.end() || third->second != value);
}

TEST_F(MeshTest, RegistryAndBootstrapAreWhatTheOtherProgramsRead) {
  ASSERT_TRUE(Read(kShop));
  const auto files = RegistryFiles(plan_);
  ASSERT_EQ(files.size(), 6u);
  std::vector<api::SourceError> errors;
  const auto entry = api::ParseDocuments(files.at("service.default.reviews.yaml"), "s", &errors);
  istio::networking::v1alpha3::ServiceEntry service;
  ASSERT_TRUE(entry.at(0).ReadInto(&service, {}, &errors, "spec")) << api::ToString(errors);
  EXPECT_THAT(service.hosts(), ElementsAre("reviews.default.svc.cluster.local"));
  EXPECT_EQ(service.workload_selector().labels().at("app"), "reviews");
  EXPECT_EQ(service.ports(0).number(), 9080u);
  const auto workload_entry =
      api::ParseDocuments(files.at("workload.default.reviews-v2-1.yaml"), "w", &errors);
  istio::networking::v1alpha3::WorkloadEntry workload;
  ASSERT_TRUE(workload_entry.at(0).ReadInto(&workload, {}, &errors, "spec"))
      << api::ToString(errors);
  EXPECT_EQ(workload.address(), "127.0.2.4");
  EXPECT_EQ(workload.service_account(), "reviewer");
  EXPECT_EQ(workload.labels().at("version"), "v2");

  envoy::config::bootstrap::v3::Bootstrap bootstrap;
  // Links the type of an Any in it.
  envoy::extensions::upstreams::http::v3::HttpProtocolOptions linked;
  const auto text = api::ParseDocuments(BootstrapYaml(plan_, plan_.instances[3]), "b", &errors);
  ASSERT_TRUE(text.at(0).ReadInto(&bootstrap, {}, &errors)) << api::ToString(errors);
  EXPECT_EQ(bootstrap.node().id(), plan_.instances[3].node_id);
  EXPECT_EQ(bootstrap.node().cluster(), "reviews.default");
  const auto& metadata = bootstrap.node().metadata().fields();
  EXPECT_EQ(metadata.at("APP_ADDRESS").string_value(), "127.0.1.4");
  EXPECT_EQ(metadata.at("OUTBOUND_ADDRESS").string_value(), "127.0.3.4");
  EXPECT_EQ(metadata.at("SERVICE_LISTENERS")
                .struct_value()
                .fields()
                .at("reviews.default.svc.cluster.local:9080")
                .number_value(),
            15102);
  EXPECT_EQ(metadata.at("LABELS").struct_value().fields().at("version").string_value(), "v2");
  EXPECT_EQ(bootstrap.admin().address().socket_address().address(), "127.0.2.4");
  EXPECT_EQ(bootstrap.static_resources().clusters(0).name(), "xds-grpc");
}

TEST_F(MeshTest, ProgramsFindTheirPeersByEnvironment) {
  ASSERT_TRUE(Read(kShop));
  const auto env = ProgramEnvironment(plan_, plan_.instances[3], {{"PATH", "/bin"}});
  EXPECT_EQ(env.at("PATH"), "/bin");
  EXPECT_EQ(env.at("BIND_ADDRESS"), "127.0.1.4");
  EXPECT_EQ(env.at("PORT"), "9080");
  EXPECT_EQ(env.at("SERVICE_VERSION"), "v2");
  EXPECT_EQ(env.at("REVIEWS_HOSTNAME"), "127.0.2.4");
  EXPECT_EQ(env.at("REVIEWS_SERVICE_PORT"), "15102");
  EXPECT_EQ(env.at("http_proxy"), "http://127.0.2.4:15001");
  EXPECT_EQ(env.at("GREETING"), "hi reviews-v2-1");
}

TEST_F(MeshTest, CommandsAreExpandedAndMissingProgramsAreNamed) {
  ASSERT_TRUE(Read(kShop));
  const ProgramFinder finder({folder_.string()});
  const auto missing = MakePlan(plan_, "/state", finder, {});
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(std::string(missing.status().message()),
              HasSubstr("there is no program " + (folder_ / "front").string()));
  EXPECT_THAT(std::string(missing.status().message()),
              HasSubstr("there is no program \"weft-proxy\""));
  for (const char* program : {"front", "reviews", "weft-proxy", "weft-controller"}) {
    ASSERT_TRUE(WriteFileAtomically((folder_ / program).string(), "#!/bin/sh\n").ok());
    std::filesystem::permissions(folder_ / program, std::filesystem::perms::owner_all);
  }
  const auto plan = MakePlan(plan_, "/state", finder, {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->launches_size(), 9);
  EXPECT_THAT(plan->launches(0).args(), testing::Contains("/state/registry"));
  EXPECT_THAT(plan->launches(1).args(),
              ElementsAre((folder_ / "front").string(), "--peer=127.0.2.1:15102"));
  EXPECT_THAT(plan->launches(2).args(),
              testing::Contains("/state/proxy/front-v1-1/bootstrap.yaml"));
  EXPECT_THAT(plan->launches(2).args(), testing::Contains("--state-dir"));
  EXPECT_EQ(plan->initial().management_socket(), "/state/mgmt/mgmt.sock");
}

TEST_F(MeshTest, AnUnknownVariableInACommandIsAMistake) {
  ASSERT_TRUE(Read(Changed("$REVIEWS_SERVICE_PORT", "$REVIEWS_PORT")));
  const auto plan = MakePlan(plan_, "/state", ProgramFinder({}), {});
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("there is no variable REVIEWS_PORT"));
}

TEST_F(MeshTest, MistakesHavePlacesAndSayWhatWouldBeRight) {
  EXPECT_THAT(
      ErrorOf(Changed("number: 9080}", "number: 0}")),
      HasSubstr(
          "mesh.yaml:7:20: workloads[0].ports[0].number: expected a port from 1 to 65535, got 0"));
  EXPECT_THAT(ErrorOf(Changed("number: 9080}", "number: ten}")),
              HasSubstr("mesh.yaml:7:20: workloads[0].ports[0].number: expected a number"));
  EXPECT_THAT(ErrorOf(Changed("replicas: 2", "replicaz: 2")),
              HasSubstr("replicas"));  // did you mean
  EXPECT_THAT(ErrorOf(Changed("name: front", "name: Front")),
              HasSubstr("workloads[0].name: \"Front\""));
  EXPECT_THAT(ErrorOf(Changed("number: 9080}", "number: 15001}")),
              HasSubstr("are the sidecar's own"));
  EXPECT_THAT(ErrorOf(Changed("configDirectory: .", "configDirectory: nowhere")),
              HasSubstr("there is no folder"));
  EXPECT_THAT(
      ErrorOf(Changed("version: v2", "version: v1")),
      HasSubstr("workloads[2].name: there is another workload \"reviews\" of version \"v1\""));
  EXPECT_THAT(ErrorOf(Changed("replicas: 2", "replicas: 300")), HasSubstr("has room for"));
  EXPECT_THAT(
      ErrorOf(Changed("command: [./front, \"--peer=${REVIEWS_HOSTNAME}:$REVIEWS_SERVICE_PORT\"]",
                      "command: []")),
      HasSubstr("workloads[0].command"));
  EXPECT_THAT(ErrorOf(Changed("number: 9080}", "number: 9080, protocol: HTP}")),
              HasSubstr("did you mean HTTP"));
  EXPECT_THAT(
      ErrorOf(Changed("name: shop", "name: shop\ncontroller: {xdsAddress: \"10.0.0.1:15010\"}")),
      HasSubstr("not a loopback address"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("the file is empty"));
  EXPECT_THAT(ErrorOf("name: shop\n"), HasSubstr("configDirectory: expected"));
  EXPECT_THAT(ErrorOf("name: [\n"), HasSubstr("mesh.yaml:"));
}

TEST(Expand, ReplacesNamesAndKeepsTheRest) {
  const std::map<std::string, std::string> variables{{"A", "1"}, {"LONG_NAME", "2"}};
  const auto expand = [&](const char* text) {
    std::string unknown;
    const std::string out = Expand(text, variables, &unknown);
    return out + (unknown.empty() ? "" : "?" + unknown);
  };
  EXPECT_EQ(expand("$A ${A}x $LONG_NAME"), "1 1x 2");
  EXPECT_EQ(expand("$$A $ $- ${A"), "$A $ $- ${A");
  EXPECT_EQ(expand("$B"), "?B");
  EXPECT_EQ(expand("end$"), "end$");
}

TEST(Addresses, ATakenOneIsNamedWithItsHolder) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const uint16_t port = ntohs(address.sin_port);
  const auto taken =
      TakenAddresses({{"127.0.0.1", port, "the controller (xDS)", "controller.xdsAddress"}});
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_THAT(taken[0], HasSubstr("127.0.0.1:" + std::to_string(port) +
                                  ", wanted by the controller (xDS), is in use by "));
  EXPECT_THAT(taken[0], HasSubstr("(pid " + std::to_string(getpid()) + ")"));
  EXPECT_THAT(taken[0], HasSubstr("controller.xdsAddress"));
  close(fd);
  EXPECT_THAT(TakenAddresses({{"127.0.0.1", port, "x", ""}}), ElementsAre());
}

}  // namespace
}  // namespace weft::cli
