#include "controlplane/admin/handlers.h"

#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include <set>

#include "api/cpp/envoy_types.h"
#include "api/cpp/names.h"
#include "controlplane/admin/admin_server.h"
#include "controlplane/ingest/file/file_source.h"
#include "controlplane/xds/config_provider.h"
#include "test/controlplane/admin/temp_directory.h"
#include "test/controlplane/xds/fake_stream.h"

namespace weft::ctl::admin {
namespace {

constexpr char kReviews[] =
    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: reviews}\nspec:\n"
    "  hosts: [reviews.default.svc.cluster.local]\n  location: MESH_INTERNAL\n  resolution: "
    "STATIC\n"
    "  ports: [{number: 9080, name: http, protocol: HTTP}]\n  endpoints: [{address: 127.0.2.1}]\n";
constexpr char kBroken[] =
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: broken}\nspec: "
    "{hosts: 7, htpp: []}\n"
    "---\n{ not yaml\n";
constexpr char kNode[] = "sidecar~127.0.2.1~reviews-v1-1.default~default.svc.cluster.local";

class HandlersTest : public ::testing::Test {
 protected:
  void Start() {
    api::LinkEnvoyTypes();
    FileSourceOptions files;
    files.directories = {directory.path()};
    engine.AddSource(std::make_unique<FileSource>(files));
    engine.OnNewState([this](const StatePtr&, const StateChange&) { hub.OnNewState(); });
    engine.Start();
    ASSERT_TRUE(engine.WaitForConfigGeneration(1, std::chrono::seconds(10)));
  }
  void TearDown() override {
    engine.Stop();
    hub.Shutdown();
  }
  // A proxy that has its clusters.
  void Connect() {
    xds::Node node;
    node.set_id(kNode);
    auto opened = hub.Open(xds::Protocol::kDelta, node, "127.0.0.1:1", stream);
    ASSERT_TRUE(opened.ok()) << opened.status();
    connection = *opened;
    xds::Request subscribe;
    subscribe.type_url = std::string(api::kClusterType);
    connection->OnRequest(subscribe);
    auto response = stream->Read(*connection);
    ASSERT_TRUE(response.has_value());
    xds::Request ack;
    ack.type_url = response->type_url;
    ack.nonce = response->nonce;
    connection->OnRequest(ack);
  }
  AdminResponse Get(std::string_view path, std::string_view query = "") {
    return handlers.Handle({"GET", path, query});
  }
  rapidjson::Document GetJson(std::string_view path, std::string_view query = "") {
    AdminResponse response = Get(path, query);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.content_type, "application/json");
    rapidjson::Document json;
    json.Parse(response.body.c_str());
    EXPECT_FALSE(json.HasParseError()) << response.body;
    return json;
  }

  TempDirectory directory;
  ConfigEngine engine{MeshOptions{}};
  xds::ConfigProvider provider{&engine};
  xds::Hub hub{&provider, {}};
  AdminHandlers handlers{&engine, &hub, "1.2.3"};
  std::shared_ptr<xds::FakeStream> stream = std::make_shared<xds::FakeStream>();
  std::shared_ptr<xds::Connection> connection;
};

TEST_F(HandlersTest, ReadyOnlyAfterTheFirstRead) {
  EXPECT_EQ(Get("/ready").status, 503);
  Start();
  EXPECT_EQ(Get("/ready").status, 200);
}

TEST_F(HandlersTest, SyncSaysWhatAProxyHas) {
  directory.Write("reviews.yaml", kReviews);
  Start();
  Connect();
  auto json = GetJson("/debug/syncz");
  ASSERT_EQ(json.Size(), 1u);
  EXPECT_STREQ(json[0]["proxy"].GetString(), kNode);
  EXPECT_STREQ(json[0]["protocol"].GetString(), "DELTA");
  ASSERT_EQ(json[0]["types"].Size(), 1u);
  const auto& type = json[0]["types"][0];
  EXPECT_STREQ(type["type"].GetString(), "cluster");
  EXPECT_STREQ(type["status"].GetString(), "SYNCED");
  EXPECT_STREQ(type["pushed"].GetString(), type["accepted"].GetString());
  EXPECT_EQ(type["acks"].GetInt(), 1);
}

TEST_F(HandlersTest, ConfigSaysWhereAndWhatIsWrong) {
  directory.Write("reviews.yaml", kReviews);
  directory.Write("broken.yaml", kBroken);
  Start();
  auto json = GetJson("/debug/configz");
  ASSERT_EQ(json["objects"].Size(), 2u);
  const auto& good = json["objects"][0];
  EXPECT_STREQ(good["name"].GetString(), "reviews");
  EXPECT_EQ(std::string(good["file"].GetString()), directory / "reviews.yaml");
  EXPECT_EQ(good["line"].GetInt(), 1);
  EXPECT_EQ(good["generationInEffect"].GetInt(), 1);
  EXPECT_STREQ(good["object"]["spec"]["hosts"][0].GetString(), "reviews.default.svc.cluster.local");
  const auto& bad = json["objects"][1];
  EXPECT_STREQ(bad["name"].GetString(), "broken");
  EXPECT_EQ(bad["generationInEffect"].GetInt(), 0);
  ASSERT_GE(bad["errors"].Size(), 1u);
  EXPECT_EQ(bad["errors"][0]["line"].GetInt(), 4);
  ASSERT_GE(json["errors"].Size(), 1u) << "the document that is not YAML";
  EXPECT_EQ(std::string(json["errors"][0]["file"].GetString()), directory / "broken.yaml");
}

TEST_F(HandlersTest, Endpoints) {
  directory.Write("reviews.yaml", kReviews);
  Start();
  auto json = GetJson("/debug/endpointz");
  ASSERT_EQ(json.Size(), 1u);
  EXPECT_STREQ(json[0]["cluster"].GetString(), "outbound|9080||reviews.default.svc.cluster.local");
  const auto& endpoint = json[0]["assignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"];
  EXPECT_STREQ(endpoint["address"]["socketAddress"]["address"].GetString(), "127.0.2.1");
  EXPECT_EQ(
      GetJson("/debug/endpointz", "cluster=outbound%7C9080%7C%7Creviews.default.svc.cluster.local")
          .Size(),
      1u);
  EXPECT_EQ(GetJson("/debug/endpointz", "cluster=other").Size(), 0u);
}

TEST_F(HandlersTest, DumpOfOneProxy) {
  directory.Write("reviews.yaml", kReviews);
  Start();
  EXPECT_EQ(Get("/debug/config_dump").status, 400);
  Connect();
  AdminResponse none = Get("/debug/config_dump", "proxyID=other");
  EXPECT_EQ(none.status, 404);
  EXPECT_NE(none.body.find(kNode), std::string::npos) << none.body;
  for (const char* id : {kNode, "reviews-v1-1.default"}) {
    auto json = GetJson("/debug/config_dump", std::string("proxyID=") + id);
    ASSERT_GE(json["configs"].Size(), 1u);
    bool found = false;
    for (const auto& config : json["configs"].GetArray()) {
      EXPECT_STREQ(config["version"].GetString(), config["acceptedVersion"].GetString());
      found |= std::string(config["resource"]["name"].GetString()) ==
               "outbound|9080||reviews.default.svc.cluster.local";
    }
    EXPECT_TRUE(found);
  }
}

TEST_F(HandlersTest, Metrics) {
  directory.Write("reviews.yaml", kReviews);
  directory.Write("broken.yaml", kBroken);
  Start();
  Connect();
  const std::string text = Get("/metrics").body;
  for (const char* line : {"weft_controller_info{version=\"1.2.3\"} 1\n", "weft_xds_sessions 1\n",
                           "weft_xds_pushes_total 1\n", "weft_xds_acks_total 1\n",
                           "weft_xds_nacks_total 0\n", "weft_xds_convergence_seconds_count 1\n",
                           "weft_xds_convergence_seconds_bucket{le=\"+Inf\"} 1\n",
                           "weft_config_objects{state=\"current\"} 1\n",
                           "weft_config_objects{state=\"not_in_effect\"} 1\n",
                           "# TYPE weft_xds_convergence_seconds histogram\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\nin\n" << text;
  }
  EXPECT_EQ(text.find("weft_config_errors 0\n"), std::string::npos);
  // Each metric is declared once.
  std::set<std::string> declared;
  for (size_t at = text.find("# TYPE "); at != std::string::npos;
       at = text.find("# TYPE ", at + 1)) {
    EXPECT_TRUE(declared.insert(text.substr(at, text.find('\n', at) - at)).second);
  }
}

TEST_F(HandlersTest, OtherPathsAndMethods) {
  AdminResponse response = Get("/debug/nope");
  EXPECT_EQ(response.status, 404);
  EXPECT_NE(response.body.find("/debug/syncz"), std::string::npos);
  EXPECT_EQ(Get("/").status, 200);
  EXPECT_EQ(handlers.Handle({"POST", "/ready", ""}).status, 405);
}

TEST_F(HandlersTest, AddressOfTheServer) {
  AdminServer first(&handlers), second(&handlers);
  ASSERT_TRUE(first.Start("127.0.0.1:0").ok());
  absl::Status status = second.Start(first.address());
  EXPECT_NE(status.message().find(first.address()), absl::string_view::npos) << status;
  EXPECT_EQ(second.Start("nonsense").code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace weft::ctl::admin
