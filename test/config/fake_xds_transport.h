#pragma once


#include <deque>
#include <string>
#include <vector>

#include "dataplane/config/xds_client.h"
#include "envoy/service/discovery/v3/discovery.pb.h"

namespace weft::test {

namespace ds = envoy::service::discovery::v3;

// A management server in the hands of a test: it sees each request, as text too, and sends what the test says.
// Owner: the test. Thread: the loop's.
class FakeXdsTransport final : public config::XdsTransport {
 public:
  std::unique_ptr<Stream> Open(Method method, Handler* handler) override {
    ++opened;
    last_server = static_cast<size_t>(opened - 1) % server_count;
    this->handler = handler;
    delta = method == Method::kDelta;
    return std::make_unique<FakeStream>(this);
  }
  size_t servers() const override { return server_count; }
  std::string server() const override { return "server" + std::to_string(last_server); }

  bool open() const { return handler != nullptr; }
  void Ready() { handler->OnXdsReady(); }
  void Close(std::string why = "gone") {
    Handler* h = handler;
    handler = nullptr;
    h->OnXdsClosed({config::GrpcCode::kUnavailable, std::move(why)});
  }
  void Reply(const google::protobuf::Message& m) { handler->OnXdsMessage(m.SerializeAsString()); }
  void ReplyBytes(std::string bytes) { handler->OnXdsMessage(std::move(bytes)); }

  // The next request that was sent and not taken yet; "" when there is none.
  std::string Next() {
    if (sent.empty()) return "";
    std::string bytes = std::move(sent.front());
    sent.pop_front();
    return delta ? DeltaText(bytes) : SotwText(bytes);
  }

  static std::string Short(const std::string& url) { return url.substr(url.rfind('.') + 1); }
  template <typename List>
  static std::string Join(const List& list) {
    std::string out;
    for (const auto& x : list) out += (out.empty() ? "" : ",") + x;
    return out;
  }
  static std::string ErrorText(const google::rpc::Status& s) {
    std::string out = " nack=" + std::to_string(s.code()) + "{" + s.message() + "}";
    for (const auto& any : s.details()) {
      ds::ResourceError e;
      out += any.UnpackTo(&e) ? " detail={" + e.resource_name().name() + "|" + e.error_detail().message() + "}"
                              : std::string(" detail=?");
    }
    return out;
  }
  static std::string DeltaText(const std::string& bytes) {
    ds::DeltaDiscoveryRequest r;
    if (!r.ParseFromString(bytes)) return "not a DeltaDiscoveryRequest";
    std::string out = Short(r.type_url());
    if (r.has_node()) out += " node=" + r.node().id();
    if (r.resource_names_subscribe_size() > 0) out += " +" + Join(r.resource_names_subscribe());
    if (r.resource_names_unsubscribe_size() > 0) out += " -" + Join(r.resource_names_unsubscribe());
    std::map<std::string, std::string> held(r.initial_resource_versions().begin(), r.initial_resource_versions().end());
    for (const auto& [n, v] : held) out += " " + n + "=" + v;
    if (!r.response_nonce().empty()) out += " nonce=" + r.response_nonce();
    if (r.has_error_detail()) out += ErrorText(r.error_detail());
    return out;
  }
  static std::string SotwText(const std::string& bytes) {
    ds::DiscoveryRequest r;
    if (!r.ParseFromString(bytes)) return "not a DiscoveryRequest";
    std::string out = Short(r.type_url());
    if (r.has_node()) out += " node=" + r.node().id();
    if (r.resource_names_size() > 0) out += " [" + Join(r.resource_names()) + "]";
    if (!r.version_info().empty()) out += " version=" + r.version_info();
    if (!r.response_nonce().empty()) out += " nonce=" + r.response_nonce();
    if (r.has_error_detail()) out += ErrorText(r.error_detail());
    return out;
  }

  Handler* handler = nullptr;
  std::deque<std::string> sent;
  bool delta = true;
  int opened = 0;
  size_t server_count = 1, last_server = 0;

 private:
  struct FakeStream final : Stream {
    explicit FakeStream(FakeXdsTransport* t) : transport(t), number(t->opened) {}
    ~FakeStream() override { Cancel(); }
    // After it the transport is not touched: a stream is freed a turn later, maybe after the transport.
    void Cancel() override {
      if (transport == nullptr) return;
      if (transport->opened == number) transport->handler = nullptr;
      transport = nullptr;
    }
    void Send(std::string_view bytes) override {
      if (transport != nullptr) transport->sent.emplace_back(bytes);
    }
    FakeXdsTransport* transport;
    int number;
  };
};

}  // namespace weft::test
