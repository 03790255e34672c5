// apply, get, delete, validate and proxy-status of the real weftctl, against a controller that
// answers what the test says.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <memory>

#include "test/tools/run.h"
#include "weft/mgmt/v1/mgmt.grpc.pb.h"

namespace weft::cli {
namespace {

namespace mgmt = weft::mgmt::v1;
using test::BinaryPath;
using test::RunResult;
using testing::HasSubstr;
using testing::Not;

// Keeps the last request of each kind; answers with what is set.
class FakeManagement final : public mgmt::Management::Service {
 public:
  grpc::Status status;
  mgmt::ApplyRequest apply_request;
  mgmt::ApplyResponse apply_response;
  mgmt::ValidateResponse validate_response;
  mgmt::GetRequest get_request;
  mgmt::GetResponse get_response;
  mgmt::DeleteRequest delete_request;
  mgmt::DeleteResponse delete_response;
  mgmt::ProxyStatusResponse proxy_status_response;

  grpc::Status Apply(grpc::ServerContext*, const mgmt::ApplyRequest* request,
                     mgmt::ApplyResponse* response) override {
    apply_request = *request;
    *response = apply_response;
    return status;
  }
  grpc::Status Validate(grpc::ServerContext*, const mgmt::ValidateRequest*,
                        mgmt::ValidateResponse* response) override {
    *response = validate_response;
    return status;
  }
  grpc::Status Get(grpc::ServerContext*, const mgmt::GetRequest* request,
                   mgmt::GetResponse* response) override {
    get_request = *request;
    *response = get_response;
    return status;
  }
  grpc::Status Delete(grpc::ServerContext*, const mgmt::DeleteRequest* request,
                      mgmt::DeleteResponse* response) override {
    delete_request = *request;
    *response = delete_response;
    return status;
  }
  grpc::Status ProxyStatus(grpc::ServerContext*, const mgmt::ProxyStatusRequest*,
                           mgmt::ProxyStatusResponse* response) override {
    *response = proxy_status_response;
    return status;
  }
};

class ManagementTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = "/tmp/weft-mgmt-test." + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + folder_ + "/s", grpc::InsecureServerCredentials());
    builder.RegisterService(&fake_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    std::ofstream(folder_ + "/routes.yaml") << "kind: VirtualService\n";
  }
  void TearDown() override {
    server_->Shutdown();
    std::filesystem::remove_all(folder_);
  }
  RunResult Ctl(const std::string& arguments) {
    return test::Shell("cd " + folder_ + " && " + BinaryPath("tools/weftctl/weftctl") + " " +
                       arguments + " --socket " + folder_ + "/s");
  }
  static void SetRef(weft::meta::v1::ResourceRef* ref, const std::string& name) {
    ref->set_api_version("networking.istio.io/v1alpha3");
    ref->set_kind("VirtualService");
    ref->set_namespace_("default");
    ref->set_name(name);
  }

  std::string folder_;
  FakeManagement fake_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(ManagementTest, ApplySendsTheFilesAndShowsWhatWasDone) {
  auto* result = fake_.apply_response.add_results();
  SetRef(result->mutable_resource(), "reviews");
  result->set_action(mgmt::CONFIGURED);
  result->set_path("/etc/weft/reviews.yaml");
  const RunResult run = Ctl("apply -f routes.yaml -n shop --dry-run");
  EXPECT_EQ(run.code, 0) << run.output;
  EXPECT_THAT(run.output,
              HasSubstr("virtualservice/reviews configured (dry run)  /etc/weft/reviews.yaml"));
  ASSERT_EQ(fake_.apply_request.sources_size(), 1);
  EXPECT_EQ(fake_.apply_request.sources(0).file_name(), "routes.yaml");
  EXPECT_EQ(fake_.apply_request.sources(0).text(), "kind: VirtualService\n");
  EXPECT_EQ(fake_.apply_request.default_namespace(), "shop");
  EXPECT_TRUE(fake_.apply_request.dry_run());
}

TEST_F(ManagementTest, AFolderIsAllItsFilesInOrder) {
  SetRef(fake_.apply_response.add_results()->mutable_resource(), "x");
  std::filesystem::create_directories(folder_ + "/config/more");
  std::ofstream(folder_ + "/config/b.yaml") << "b";
  std::ofstream(folder_ + "/config/more/a.json") << "a";
  std::ofstream(folder_ + "/config/notes.txt") << "no";
  EXPECT_EQ(Ctl("apply -f config").code, 0);
  ASSERT_EQ(fake_.apply_request.sources_size(), 2);
  EXPECT_EQ(fake_.apply_request.sources(0).file_name(), "config/b.yaml");
  EXPECT_EQ(fake_.apply_request.sources(1).file_name(), "config/more/a.json");
}

TEST_F(ManagementTest, MistakesAreShownWithTheirPlaceAndFailTheCommand) {
  auto* mistake = fake_.apply_response.add_diagnostics();
  mistake->set_severity(mgmt::Diagnostic::ERROR);
  mistake->set_file("routes.yaml");
  mistake->set_line(12);
  mistake->set_column(9);
  mistake->set_field_path("spec.http[0].route[1].weight");
  mistake->set_message("expected a number, got \"ten\"");
  const RunResult run = Ctl("apply -f routes.yaml");
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(
      run.output,
      HasSubstr(
          "routes.yaml:12:9: error: spec.http[0].route[1].weight: expected a number, got \"ten\""));
  EXPECT_THAT(run.output, HasSubstr("nothing was applied: 1 mistake"));
}

TEST_F(ManagementTest, RefusalsOfTheControllerSayWhatToDo) {
  fake_.status =
      grpc::Status(grpc::StatusCode::FAILED_PRECONDITION,
                   "/etc/weft is managed by git (/etc/weft/.weft-readonly): commit there");
  EXPECT_THAT(Ctl("apply -f routes.yaml").output, HasSubstr("error: /etc/weft is managed by git"));
  fake_.status = grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "uid 1001 may not");
  const RunResult denied = Ctl("get");
  EXPECT_EQ(denied.code, 1);
  EXPECT_THAT(denied.output, HasSubstr("uid 1001 may not"));
  EXPECT_THAT(denied.output, HasSubstr("Run weftctl as the user that runs the controller"));
  fake_.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "still reading");
  EXPECT_THAT(Ctl("get").output, HasSubstr("weftctl dev logs controller"));
}

TEST_F(ManagementTest, NoControllerIsSaidWithTheNextStep) {
  const std::string ctl = BinaryPath("tools/weftctl/weftctl");
  EXPECT_THAT(test::Shell("cd " + folder_ + " && " + ctl + " get").output,
              HasSubstr("no mesh is running here"));
  EXPECT_THAT(test::Shell("cd " + folder_ + " && " + ctl + " get").output,
              HasSubstr("weftctl dev up"));
  EXPECT_THAT(test::Shell(ctl + " get --socket " + folder_ + "/none").output,
              HasSubstr("no controller listens at " + folder_ + "/none"));
  EXPECT_THAT(test::Shell("WEFT_SOCKET=" + folder_ + "/s " + ctl + " get").output,
              HasSubstr("no resources in namespace default"));
  EXPECT_THAT(Ctl("apply -f nowhere.yaml").output,
              HasSubstr("cannot read nowhere.yaml: No such file"));
}

TEST_F(ManagementTest, GetShowsATableOrWhatApplyTakes) {
  auto* stored = fake_.get_response.add_resources();
  SetRef(stored->mutable_resource(), "reviews");
  stored->set_yaml("kind: VirtualService\nmetadata:\n  name: reviews\n");
  stored->set_file(folder_ + "/routes.yaml");
  stored->set_line(3);
  auto* remark = stored->add_diagnostics();
  remark->set_severity(mgmt::Diagnostic::WARNING);
  remark->set_message("subset v9 does not exist");
  const RunResult table = Ctl("get vs");
  EXPECT_THAT(table.output,
              HasSubstr("VirtualService   reviews   routes.yaml:3   subset v9 does not exist"));
  EXPECT_EQ(fake_.get_request.kind(), "vs");
  stored = fake_.get_response.add_resources();
  stored->set_yaml("kind: Other");
  EXPECT_EQ(Ctl("get all -o yaml").output,
            "kind: VirtualService\nmetadata:\n  name: reviews\n---\nkind: Other\n");
  EXPECT_EQ(fake_.get_request.kind(), "");
  EXPECT_THAT(Ctl("get -A -o json").output, HasSubstr("\"line\": 3"));
  EXPECT_TRUE(fake_.get_request.all_namespaces());
}

TEST_F(ManagementTest, DeleteNamesOneOrTakesFiles) {
  auto* result = fake_.delete_response.add_results();
  SetRef(result->mutable_resource(), "reviews");
  result->set_action(mgmt::DELETED);
  EXPECT_THAT(Ctl("delete vs reviews").output, HasSubstr("virtualservice/reviews deleted"));
  ASSERT_EQ(fake_.delete_request.resources_size(), 1);
  EXPECT_EQ(fake_.delete_request.resources(0).kind(), "vs");
  EXPECT_EQ(fake_.delete_request.resources(0).namespace_(), "default");
  EXPECT_EQ(Ctl("delete -f routes.yaml").code, 0);
  EXPECT_EQ(fake_.delete_request.sources_size(), 1);
  EXPECT_THAT(Ctl("delete").output, HasSubstr("say what to delete"));
}

TEST_F(ManagementTest, ValidateTellsGoodFromBad) {
  fake_.validate_response.set_valid(true);
  fake_.validate_response.set_documents(2);
  EXPECT_EQ(Ctl("validate -f routes.yaml").output, "valid: 2 resources\n");
  fake_.validate_response.set_valid(false);
  fake_.validate_response.add_diagnostics()->set_message("no");
  const RunResult bad = Ctl("validate -f routes.yaml");
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.output, HasSubstr("1 mistake in 2 resources"));
}

TEST_F(ManagementTest, ProxyStatusShowsSyncAndFailsOnRefusals) {
  auto* proxy = fake_.proxy_status_response.add_proxies();
  proxy->set_node_id("sidecar~127.0.2.3~reviews-v1-1.default~default.svc.cluster.local");
  proxy->set_client("weft 0.1.0");
  proxy->set_protocol(mgmt::ProxyState::DELTA);
  auto* routes = proxy->add_types();
  routes->set_type_url("type.googleapis.com/envoy.config.route.v3.RouteConfiguration");
  routes->set_status(mgmt::TypeState::SYNCED);
  routes->set_resources(5);
  RunResult run = Ctl("proxy-status");
  EXPECT_EQ(run.code, 0);
  EXPECT_THAT(run.output, HasSubstr("reviews-v1-1.default"));
  EXPECT_THAT(run.output, HasSubstr("synced (5)"));
  EXPECT_THAT(run.output, HasSubstr("weft 0.1.0, delta"));
  routes->set_status(mgmt::TypeState::REFUSED);
  auto* refused = routes->add_refused();
  refused->set_name("9080");
  refused->set_field_path("virtual_hosts[0]");
  refused->set_reason("bad regex");
  refused->set_origin_file("config/reviews.yaml");
  refused->set_origin_line(7);
  run = Ctl("proxy-status");
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.output, HasSubstr("reviews-v1-1.default refused route 9080: virtual_hosts[0]: "
                                    "bad regex (from config/reviews.yaml:7)"));
  EXPECT_THAT(run.output, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace weft::cli
