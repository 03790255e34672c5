// The management service as weftctl sees it: over its socket, with a real engine that watches real
// directories.
#include "controlplane/admin/mgmt/management.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "api/cpp/names.h"
#include "controlplane/admin/mgmt/mgmt_server.h"
#include "controlplane/ingest/file/file_source.h"
#include "controlplane/xds/config_provider.h"
#include "test/controlplane/admin/temp_directory.h"
#include "test/controlplane/xds/fake_stream.h"

namespace weft::ctl::admin {
namespace {

namespace pb = weft::mgmt::v1;

constexpr char kEntry[] =
    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: reviews}\nspec:\n"
    "  hosts: [reviews.default.svc.cluster.local]\n  location: MESH_INTERNAL\n  resolution: "
    "STATIC\n"
    "  ports: [{number: 9080, name: http, protocol: HTTP}]\n"
    "  endpoints: [{address: 127.0.2.1, labels: {version: v1}}]\n";

std::string Rule(const std::string& name, const std::string& subset) {
  return "# rule " + name +
         "\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: " + name +
         "\nspec:\n  host: reviews\n  subsets:\n  - name: " + subset +
         "\n    labels: {version: " + subset + "}\n";
}

std::string Service(const std::string& subset, const std::string& weight = "100") {
  return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: "
         "reviews\nspec:\n"
         "  hosts: [reviews]\n  http:\n  - route:\n    - destination: {host: reviews, subset: " +
         subset + "}\n      weight: " + weight + "\n";
}

class ManagementTest : public ::testing::Test {
 protected:
  void SetUp() override {
    registry.Write("reviews.yaml", kEntry);
    FileSourceOptions files;
    files.directories = {registry.path(), config.path()};
    engine.AddSource(std::make_unique<FileSource>(files));
    engine.OnNewState([this](const StatePtr&, const StateChange&) { hub.OnNewState(); });
    engine.Start();
    ASSERT_TRUE(engine.WaitForConfigGeneration(1, std::chrono::seconds(10)));
    ManagementOptions options;
    options.version = "test";
    options.directories = files.directories;
    service = std::make_unique<ManagementService>(
        &engine, &hub, options,
        [this](const grpc::ServerContext& context) { return server.Who(context); });
    ASSERT_TRUE(server.Start(service.get()).ok());
    grpc::ChannelArguments args;
    args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    stub = pb::Management::NewStub(grpc::CreateCustomChannel(
        "unix:" + server.socket_path(), grpc::InsecureChannelCredentials(), args));
  }
  void TearDown() override {
    server.Stop();
    engine.Stop();
    hub.Shutdown();
  }

  struct Context : grpc::ClientContext {
    Context() { set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20)); }
  };
  static pb::ApplyRequest Request(std::vector<std::string> texts) {
    pb::ApplyRequest request;
    int n = 0;
    for (std::string& text : texts) {
      pb::Source& source = *request.add_sources();
      source.set_file_name("in" + std::to_string(++n) + ".yaml");
      source.set_text(std::move(text));
    }
    return request;
  }
  grpc::Status Apply(const pb::ApplyRequest& request, pb::ApplyResponse* response) {
    Context context;
    return stub->Apply(&context, request, response);
  }
  pb::ApplyResponse MustApply(const pb::ApplyRequest& request) {
    pb::ApplyResponse response;
    grpc::Status status = Apply(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  TempDirectory registry, config, run;
  ConfigEngine engine{MeshOptions{}};
  xds::ConfigProvider provider{&engine};
  xds::Hub hub{&provider, {}};
  MgmtServer server{run / "mgmt/mgmt.sock", geteuid()};
  std::unique_ptr<ManagementService> service;
  std::unique_ptr<pb::Management::Stub> stub;
};

TEST_F(ManagementTest, ApplyWritesAndReturnsWhenTheControllerHasIt) {
  auto response = MustApply(Request({Rule("reviews", "v1") + "---\n" + Service("v1")}));
  ASSERT_EQ(response.results_size(), 2) << response.DebugString();
  EXPECT_EQ(response.results(0).action(), pb::CREATED);
  EXPECT_EQ(response.results(0).resource().kind(), "DestinationRule");
  EXPECT_EQ(response.results(0).resource().namespace_(), "default");
  EXPECT_EQ(response.results(1).path(), config / "virtualservice/default/reviews.yaml");
  EXPECT_EQ(response.diagnostics_size(), 0) << response.DebugString();
  EXPECT_EQ(config.Read("destinationrule/default/reviews.yaml"), Rule("reviews", "v1"));
  EXPECT_EQ(response.generation(), engine.state()->config_generation());
  // It is in the state already.
  size_t found = 0;
  for (const auto& stored : engine.Objects())
    found += stored.newest != nullptr && stored.newest->key.kind != "ServiceEntry";
  EXPECT_EQ(found, 2u);

  const uint64_t before = engine.state()->config_generation();
  response = MustApply(Request({Service("v1")}));
  EXPECT_EQ(response.results(0).action(), pb::UNCHANGED);
  EXPECT_EQ(response.results(0).path(), "");
  EXPECT_EQ(engine.state()->config_generation(), before);

  response = MustApply(Request({Rule("reviews", "v2") + "---\n" + Service("v2")}));
  EXPECT_EQ(response.results(1).action(), pb::CONFIGURED);
  EXPECT_GT(response.generation(), before);
}

TEST_F(ManagementTest, ChangeInAFileOfManyLeavesTheRest) {
  const std::string file = "# shop\n" + Rule("one", "v1") + "---\n" + Rule("two", "v1");
  std::string other_host = file;
  other_host.replace(other_host.rfind("host: reviews"), 13, "host: ratings");
  pb::ApplyRequest request = Request({file});
  config.Write("shop.yaml", other_host);
  while (engine.Objects().size() < 3) usleep(1000);
  pb::ApplyResponse response = MustApply(Request({Rule("one", "v7")}));
  ASSERT_EQ(response.results_size(), 1);
  EXPECT_EQ(response.results(0).path(), config / "shop.yaml");
  const std::string now = config.Read("shop.yaml");
  EXPECT_EQ(now, Rule("one", "v7") + other_host.substr(other_host.find("---\n")));
}

TEST_F(ManagementTest, OneMistakeRefusesAll) {
  auto response = MustApply(Request({Rule("reviews", "v1"), Service("v1", "ten")}));
  ASSERT_EQ(response.results_size(), 2);
  EXPECT_EQ(response.results(0).action(), pb::REFUSED);
  EXPECT_EQ(response.results(1).action(), pb::REFUSED);
  ASSERT_GE(response.diagnostics_size(), 1);
  EXPECT_EQ(response.diagnostics(0).file(), "in2.yaml");
  EXPECT_EQ(response.diagnostics(0).line(), 10);
  EXPECT_EQ(response.diagnostics(0).field_path(), "spec.http[0].route[0].weight");
  EXPECT_NE(response.diagnostics(0).message().find("expected a number, got \"ten\""),
            std::string::npos);
  EXPECT_TRUE(config.Files().empty());
}

TEST_F(ManagementTest, WrongReferenceIsTold) {
  auto response = MustApply(Request({Service("v9")}));
  ASSERT_EQ(response.diagnostics_size(), 1) << response.DebugString();
  EXPECT_NE(response.diagnostics(0).message().find("v9"), std::string::npos)
      << response.DebugString();
}

TEST_F(ManagementTest, DryRunWritesNothing) {
  pb::ApplyRequest request = Request({Rule("reviews", "v1")});
  request.set_dry_run(true);
  auto response = MustApply(request);
  EXPECT_EQ(response.results(0).action(), pb::CREATED);
  EXPECT_EQ(response.results(0).path(), config / "destinationrule/default/reviews.yaml");
  EXPECT_TRUE(config.Files().empty());
}

TEST_F(ManagementTest, NamespaceOfTheRequestIsSpelledOut) {
  pb::ApplyRequest request = Request({Rule("reviews", "v1")});
  request.set_default_namespace("shop");
  auto response = MustApply(request);
  EXPECT_EQ(response.results(0).resource().namespace_(), "shop");
  const std::string text = config.Read("destinationrule/shop/reviews.yaml");
  EXPECT_NE(text.find("metadata:\n  namespace: shop\n  name: reviews\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("# rule reviews"), std::string::npos) << "comments stay";
  // Written so that it can't be done by hand: in one line.
  request = Request(
      {R"({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "x"}, "spec": {"host": "x"}})"});
  request.set_default_namespace("shop");
  MustApply(request);
  EXPECT_NE(config.Read("destinationrule/shop/x.yaml").find("namespace: shop"), std::string::npos);
}

TEST_F(ManagementTest, SameObjectTwiceIsAMistake) {
  auto response = MustApply(Request({Rule("reviews", "v1"), Rule("reviews", "v2")}));
  ASSERT_EQ(response.diagnostics_size(), 1);
  EXPECT_NE(response.diagnostics(0).message().find("is given twice, first at in1.yaml:2"),
            std::string::npos)
      << response.DebugString();
  EXPECT_TRUE(config.Files().empty());
}

TEST_F(ManagementTest, ObjectOfAnotherDirectoryIsChangedThere) {
  std::string entry = kEntry;
  entry.replace(entry.find("127.0.2.1"), 9, "127.0.2.9");
  auto response = MustApply(Request({entry}));
  ASSERT_EQ(response.diagnostics_size(), 1) << response.DebugString();
  EXPECT_NE(response.diagnostics(0).message().find(registry / "reviews.yaml:1"), std::string::npos);
  EXPECT_EQ(response.results(0).action(), pb::REFUSED);
}

TEST_F(ManagementTest, ReadOnlyDirectory) {
  config.Write(".weft-readonly", "managed by git: edit mesh-config.git\n");
  pb::ApplyResponse response;
  grpc::Status status = Apply(Request({Rule("reviews", "v1")}), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(status.error_message().find("managed by git: edit mesh-config.git"), std::string::npos);
  pb::GetInfoResponse info;
  Context context;
  ASSERT_TRUE(stub->GetInfo(&context, {}, &info).ok());
  EXPECT_NE(info.read_only_reason().find("managed by git"), std::string::npos);
}

TEST_F(ManagementTest, OwnerFile) {
  pb::ApplyRequest request = Request({Rule("reviews", "v1")});
  request.set_owner_file("team/all.yaml");
  EXPECT_EQ(MustApply(request).results(0).path(), config / "team/all.yaml");
  request = Request({Rule("b", "v1")});
  request.set_owner_file("../outside.yaml");
  pb::ApplyResponse response;
  EXPECT_EQ(Apply(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ManagementTest, GetInfoNamesEverything) {
  Context context;
  pb::GetInfoResponse info;
  ASSERT_TRUE(stub->GetInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.version(), "test");
  ASSERT_EQ(info.config_directories_size(), 2);
  EXPECT_EQ(info.writable_directory(), config.path());
  EXPECT_EQ(info.read_only_reason(), "");
  EXPECT_EQ(info.resources(), 1u);
  EXPECT_GT(info.started().seconds(), 1000000);
}

TEST_F(ManagementTest, Get) {
  MustApply(Request({Rule("reviews", "v1") + "---\n" + Service("v1")}));
  pb::GetRequest request;
  request.set_kind("vs");
  pb::GetResponse response;
  {
    Context context;
    ASSERT_TRUE(stub->Get(&context, request, &response).ok());
  }
  ASSERT_EQ(response.resources_size(), 1);
  EXPECT_EQ(response.resources(0).file(), config / "virtualservice/default/reviews.yaml");
  EXPECT_NE(response.resources(0).yaml().find("subset: v1"), std::string::npos)
      << response.resources(0).yaml();
  // What Get says, Apply takes.
  EXPECT_EQ(MustApply(Request({response.resources(0).yaml()})).results(0).action(), pb::UNCHANGED);

  request.set_name("absent");
  Context context;
  grpc::Status status = stub->Get(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  request.set_kind("VirtualServise");
  Context context2;
  status = stub->Get(&context2, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("VirtualService"), std::string::npos);
  request.Clear();
  request.set_all_namespaces(true);
  Context context3;
  ASSERT_TRUE(stub->Get(&context3, request, &response).ok());
  EXPECT_EQ(response.resources_size(), 3);
}

TEST_F(ManagementTest, Delete) {
  MustApply(Request({Rule("a", "v1")}));
  pb::DeleteRequest request;
  auto& ref = *request.add_resources();
  ref.set_kind("dr");
  ref.set_name("a");
  pb::DeleteResponse response;
  {
    Context context;
    grpc::Status status = stub->Delete(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(response.results(0).action(), pb::DELETED);
  EXPECT_EQ(response.diagnostics_size(), 0) << response.DebugString();
  EXPECT_TRUE(config.Files().empty());
  for (const auto& stored : engine.Objects())
    EXPECT_TRUE(stored.newest == nullptr || stored.newest->key.name != "a");
  {
    Context context;
    EXPECT_EQ(stub->Delete(&context, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  }
  request.set_ignore_not_found(true);
  {
    Context context;
    ASSERT_TRUE(stub->Delete(&context, request, &response).ok());
    EXPECT_EQ(response.results(0).action(), pb::ABSENT);
  }
  request.mutable_resources(0)->set_kind("se");
  request.mutable_resources(0)->set_name("reviews");
  Context context;
  EXPECT_EQ(stub->Delete(&context, request, &response).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(ManagementTest, DeleteByDocumentEvenOneWithMistakes) {
  MustApply(Request({Rule("a", "v1")}));
  pb::DeleteRequest request;
  pb::Source& source = *request.add_sources();
  source.set_text(
      "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: "
      "{hoost: x}\n");
  pb::DeleteResponse response;
  Context context;
  grpc::Status status = stub->Delete(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.results(0).action(), pb::DELETED);
  EXPECT_TRUE(config.Files().empty());
}

TEST_F(ManagementTest, ValidateChangesNothing) {
  pb::ValidateRequest request;
  request.add_sources()->set_text(Rule("reviews", "v1") + "---\n" + Service("v1"));
  pb::ValidateResponse response;
  {
    Context context;
    ASSERT_TRUE(stub->Validate(&context, request, &response).ok());
  }
  EXPECT_TRUE(response.valid()) << response.DebugString();
  EXPECT_EQ(response.documents(), 2u);
  request.mutable_sources(0)->set_text(Service("v1", "x") + "---\n{ broken");
  Context context;
  ASSERT_TRUE(stub->Validate(&context, request, &response).ok());
  EXPECT_FALSE(response.valid());
  EXPECT_EQ(response.diagnostics_size(), 2) << response.DebugString();
  EXPECT_TRUE(config.Files().empty());
}

TEST_F(ManagementTest, ProxyStatus) {
  xds::Node node;
  node.set_id("sidecar~127.0.2.1~reviews-v1-1.default~default.svc.cluster.local");
  auto stream = std::make_shared<xds::FakeStream>();
  auto connection = hub.Open(xds::Protocol::kDelta, node, "peer", stream);
  ASSERT_TRUE(connection.ok()) << connection.status();
  xds::Request subscribe;
  subscribe.type_url = std::string(api::kClusterType);
  (*connection)->OnRequest(subscribe);
  auto response = stream->Read(**connection);
  ASSERT_TRUE(response.has_value());
  xds::Request nack;
  nack.type_url = response->type_url;
  nack.nonce = response->nonce;
  nack.nack = xds::Nack{
      .code = 3, .message = "no", .refusals = {{response->resources[0]->name, "", "f", "why"}}};
  (*connection)->OnRequest(nack);

  for (const char* name : {"", "reviews-v1-1.default", "reviews-v1", "sidecar~127.0.2.1"}) {
    pb::ProxyStatusRequest request;
    request.set_node(name);
    pb::ProxyStatusResponse status;
    Context context;
    ASSERT_TRUE(stub->ProxyStatus(&context, request, &status).ok()) << name;
    ASSERT_EQ(status.proxies_size(), 1);
    ASSERT_EQ(status.proxies(0).types_size(), 1);
    const pb::TypeState& type = status.proxies(0).types(0);
    EXPECT_EQ(type.status(), pb::TypeState::REFUSED);
    EXPECT_EQ(type.reason(), "no");
    ASSERT_EQ(type.refused_size(), 1);
    EXPECT_EQ(type.refused(0).field_path(), "f");
    EXPECT_EQ(type.refused(0).reason(), "why");
  }
  pb::ProxyStatusRequest request;
  request.set_node("ratings");
  pb::ProxyStatusResponse status;
  Context context;
  EXPECT_EQ(stub->ProxyStatus(&context, request, &status).error_code(),
            grpc::StatusCode::NOT_FOUND);
  (*connection)->OnClosed();
}

}  // namespace
}  // namespace weft::ctl::admin
