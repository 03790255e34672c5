#include "dataplane/config/grpc_xds_transport.h"

namespace weft::config {
namespace {

constexpr char kDeltaMethod[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
constexpr char kStateOfTheWorldMethod[] =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

}  // namespace

// The connection tells its end after its call's end; whichever comes first is told, the other one not.
class GrpcXdsTransport::GrpcXdsStream final : public XdsTransport::Stream,
                                              private GrpcConnection::Handler,
                                              private GrpcStream::Handler {
 public:
  GrpcXdsStream(GrpcXdsTransport& t, const net::Address& address, Method method, XdsTransport::Handler* handler)
      : transport_(t),
        method_(method),
        handler_(handler),
        connection_(t.loop_, t.slab_, address, t.servers_.grpc, this) {}

  void Cancel() override { handler_ = nullptr; }

  void Send(std::string_view bytes) override {
    if (call_ != nullptr) call_->Send(bytes);
  }

 private:
  void OnGrpcReady() override {
    if (handler_ == nullptr) return;
    call_ = std::make_unique<GrpcStream>(
        connection_, method_ == Method::kDelta ? kDeltaMethod : kStateOfTheWorldMethod, transport_.servers_.authority,
        transport_.servers_.metadata, static_cast<GrpcStream::Handler*>(this));
    handler_->OnXdsReady();
  }
  void OnGrpcClosed(const GrpcStatus& status) override { Closed(status); }
  void OnGrpcMessage(std::string message) override {
    if (handler_ != nullptr) handler_->OnXdsMessage(std::move(message));
  }
  void OnGrpcEnd(const GrpcStatus& status) override {
    // A server that ends the stream with OK has no reason to give; it is an end all the same.
    Closed(status.ok() ? GrpcStatus{GrpcCode::kUnavailable, "server ended the stream"} : status);
  }
  void Closed(const GrpcStatus& status) {
    XdsTransport::Handler* h = std::exchange(handler_, nullptr);
    if (h != nullptr) h->OnXdsClosed(status);
  }

  GrpcXdsTransport& transport_;
  const Method method_;
  XdsTransport::Handler* handler_;
  GrpcConnection connection_;
  std::unique_ptr<GrpcStream> call_;  // before the connection
};

std::unique_ptr<XdsTransport::Stream> GrpcXdsTransport::Open(Method method, Handler* handler) {
  last_ = next_;
  next_ = (next_ + 1) % servers_.addresses.size();
  return std::make_unique<GrpcXdsStream>(*this, servers_.addresses[last_], method, handler);
}

}  // namespace weft::config
