// What a management server may send, down to the update of the workers: discovery messages, resources, and the last good
// state on disk. The first byte chooses. Anything that is taken must be answered, and must compile again.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "api/cpp/names.h"
#include "dataplane/base/log.h"
#include "dataplane/config/manager.h"
#include "envoy/service/discovery/v3/discovery.pb.h"

using namespace weft;
using namespace weft::config;

#define CHECK(x) \
  if (!(x)) fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), abort()

namespace {

constexpr char kBootstrap[] = R"(
node: {id: me, cluster: us}
static_resources:
  clusters:
  - name: xds
    http2_protocol_options: {}
    load_assignment: {cluster_name: xds, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: "@x"}}}}]}]}
dynamic_resources:
  ads_config: {api_type: TYPE, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds}}]}
  lds_config: {ads: {}}
  cds_config: {ads: {}}
)";

struct Transport : XdsTransport {
  struct Silent : Stream {
    explicit Silent(Transport* t) : transport(t) {}
    ~Silent() override { Cancel(); }
    void Cancel() override {
      if (transport->stream == this) transport->stream = nullptr;
    }
    void Send(std::string_view) override { ++transport->sent; }
    Transport* transport;
  };
  std::unique_ptr<Stream> Open(Method, Handler* h) override {
    handler = h;
    auto s = std::make_unique<Silent>(this);
    stream = s.get();
    return s;
  }
  size_t servers() const override { return 1; }
  std::string server() const override { return "s"; }
  Handler* handler = nullptr;
  Silent* stream = nullptr;
  int sent = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  SetLogLevel(LogLevel::kOff);
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const uint8_t how = data[0];
  LastGood state;
  if (DecodeLastGood(input, &state).empty()) CHECK(DecodeLastGood(EncodeLastGood(state), &state).empty());
  NameInWire(input);

  std::string text = kBootstrap;
  text.replace(text.find("TYPE"), 4, (how & 1) != 0 ? "GRPC" : "DELTA_GRPC");
  std::vector<api::SourceError> errors;
  auto bootstrap = ReadBootstrap(text, "b", {}, CompileEnv(), &errors);
  fputs(api::ToString(errors).c_str(), stderr);
  CHECK(bootstrap != nullptr);
  buffer::Slab slab;
  event::Loop loop;
  auto transport = std::make_unique<Transport>();
  Transport* t = transport.get();
  size_t emitted = 0;
  ManagerOptions options;
  options.env.read_file = [](const std::string&) { return absl::NotFoundError("no files here"); };
  options.env.refuse_unknown_fields = (how & 2) != 0;
  ConfigManager manager(
      loop, slab, std::move(bootstrap), options,
      [&](std::shared_ptr<const Update> u, ConfigManager::Applied done) {
        CHECK(!u->empty());
        ++emitted;
        std::vector<std::pair<std::string, std::string>> refused;
        if ((how & 4) != 0 && !u->listeners.empty()) refused.emplace_back(u->listeners[0]->name, "in use");
        done(std::move(refused));
      },
      std::move(transport));
  manager.Start();
  while (t->stream == nullptr) loop.RunOnce(true);
  t->handler->OnXdsReady();
  // As a whole response, then as one resource of each type inside a good response.
  t->handler->OnXdsMessage(std::string(input));
  constexpr std::string_view kTypes[] = {api::kClusterType, api::kEndpointType, api::kListenerType, api::kRouteType};
  for (int i = 0; i < 8 && t->stream != nullptr; ++i) {
    std::string_view type = kTypes[i % 4];
    std::string bytes;
    if ((how & 1) != 0) {
      envoy::service::discovery::v3::DiscoveryResponse r;
      r.set_type_url(std::string(type));
      r.set_version_info(std::to_string(i));
      auto* any = r.add_resources();
      any->set_type_url(std::string(type));
      any->set_value(std::string(input));
      bytes = r.SerializeAsString();
    } else {
      envoy::service::discovery::v3::DeltaDiscoveryResponse r;
      r.set_type_url(std::string(type));
      auto* x = r.add_resources();
      x->set_name(NameInWire(input));
      x->set_version(std::to_string(i));
      x->mutable_resource()->set_type_url(std::string(type));
      x->mutable_resource()->set_value(std::string(input));
      bytes = r.SerializeAsString();
    }
    int before = t->sent;
    t->handler->OnXdsMessage(std::move(bytes));
    if (t->stream != nullptr) CHECK(t->sent > before);  // answered
  }
  for (std::string_view type : kTypes) manager.ForEach(type, [](const ResourceView& v) { CHECK(v.name.data() != nullptr); });
  loop.RunOnce();
  return 0;
}
