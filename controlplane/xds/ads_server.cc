#include "controlplane/xds/ads_server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controlplane/xds/wire.h"
#include "dataplane/base/log.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"

namespace weft::ctl::xds {
namespace {

using envoy::service::discovery::v3::AggregatedDiscoveryService;
using envoy::service::discovery::v3::DeltaDiscoveryRequest;
using envoy::service::discovery::v3::DiscoveryRequest;
using RawReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// The bytes are moved, not copied.
grpc::ByteBuffer ToBuffer(std::string bytes) {
  auto* owned = new std::string(std::move(bytes));
  grpc::Slice slice(
      owned->data(), owned->size(), [](void* p) { delete static_cast<std::string*>(p); }, owned);
  return grpc::ByteBuffer(&slice, 1);
}

// One gRPC stream. gRPC calls one reaction of a kind at a time, in its threads; Write and Close
// come from any. Owner: itself, from Begin until OnDone; also the Connection.
template <typename Message, Protocol kProtocol>
class AdsStream final : public RawReactor, public Stream {
 public:
  static RawReactor* Begin(Hub* hub, std::string peer) {
    auto stream = std::make_shared<AdsStream>(hub, std::move(peer));
    stream->self_ = stream;
    stream->StartRead(&stream->incoming_);
    return stream.get();
  }

  AdsStream(Hub* hub, std::string peer) : hub_(hub), peer_(std::move(peer)) {}

  // Stream.
  void Write(const Response& response) override {
    outgoing_ = ToBuffer(EncodeResponse(kProtocol, response));
    std::lock_guard lock(mutex_);
    if (!finished_) StartWrite(&outgoing_);
  }
  void Close(const absl::Status& status) override {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    finished_ = true;
    Finish(ToGrpc(status));
  }

  // Reactions.
  void OnReadDone(bool ok) override {
    if (!ok) {
      // The client is done with the stream, or it broke.
      Close(absl::OkStatus());
      return;
    }
    Message message;
    {
      grpc::ProtoBufferReader reader(&incoming_);
      if (!reader.status().ok() || !message.ParseFromZeroCopyStream(&reader)) {
        Close(absl::InvalidArgumentError(absl::StrCat("not a ", message.GetTypeName())));
        return;
      }
    }
    incoming_.Clear();
    if (connection_ == nullptr) {
      if (!message.has_node()) {
        Close(absl::InvalidArgumentError("the first request of a stream must carry `node`"));
        return;
      }
      auto connection = hub_->Open(kProtocol, message.node(), peer_, self_);
      if (!connection.ok()) {
        Close(connection.status());
        return;
      }
      connection_ = *std::move(connection);
    }
    connection_->OnRequest(TakeRequest(message));
    std::lock_guard lock(mutex_);
    if (!finished_) StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) {
      Close(absl::CancelledError("the stream broke"));
    } else {
      outgoing_.Clear();  // an idle stream holds no bytes
      connection_->OnWritten();
    }
  }
  void OnCancel() override { Close(absl::CancelledError("the client went away")); }
  void OnDone() override {
    if (connection_ != nullptr) connection_->OnClosed();
    std::shared_ptr<AdsStream> last = std::move(self_);  // may destroy this at the end
  }

 private:
  Hub* const hub_;
  const std::string peer_;
  std::shared_ptr<AdsStream> self_;
  std::shared_ptr<Connection>
      connection_;  // set in the first OnReadDone, before anything is written
  grpc::ByteBuffer incoming_, outgoing_;
  std::mutex mutex_;
  bool finished_ = false;
};

using RawService = AggregatedDiscoveryService::WithRawCallbackMethod_StreamAggregatedResources<
    AggregatedDiscoveryService::WithRawCallbackMethod_DeltaAggregatedResources<
        AggregatedDiscoveryService::Service>>;

class Service final : public RawService {
 public:
  explicit Service(Hub* hub) : hub_(hub) {}
  RawReactor* DeltaAggregatedResources(grpc::CallbackServerContext* context) override {
    return AdsStream<DeltaDiscoveryRequest, Protocol::kDelta>::Begin(hub_, context->peer());
  }
  RawReactor* StreamAggregatedResources(grpc::CallbackServerContext* context) override {
    return AdsStream<DiscoveryRequest, Protocol::kStateOfTheWorld>::Begin(hub_, context->peer());
  }

 private:
  Hub* const hub_;
};

}  // namespace

class AdsServer::Impl {
 public:
  explicit Impl(Hub* hub) : service(hub) {}
  Service service;
  std::unique_ptr<grpc::Server> server;
};

AdsServer::AdsServer(Hub* hub, AdsServerOptions options)
    : hub_(hub), options_(std::move(options)) {}

AdsServer::~AdsServer() { Stop(); }

absl::Status AdsServer::Start() {
  // gRPC itself only logs why it could not bind.
  absl::Status free = CheckListen(options_.address, "--xds-address");
  if (!free.ok()) return free;
  impl_ = std::make_unique<Impl>(hub_);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options_.address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&impl_->service);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options_.max_request_bytes));
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                             static_cast<int>(options_.keepalive_time.count()));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             static_cast<int>(options_.keepalive_timeout.count()));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Proxies ping, too; many more often than gRPC's default of 5 minutes allows.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  impl_->server = builder.BuildAndStart();
  if (impl_->server == nullptr || port == 0) {
    impl_.reset();
    return absl::UnavailableError(
        absl::StrCat("can't listen on ", options_.address, " (--xds-address)"));
  }
  address_ = absl::StrCat(options_.address.substr(0, options_.address.rfind(':')), ":", port);
  return absl::OkStatus();
}

void AdsServer::Stop() {
  if (impl_ == nullptr) return;
  hub_->Shutdown();
  impl_->server->Shutdown(std::chrono::system_clock::now() + options_.stop_limit);
  impl_->server->Wait();
  impl_.reset();
}

}  // namespace weft::ctl::xds
