#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "envoy/service/discovery/v3/ads.grpc.pb.h"

namespace weft::ctl::xds {

// A discovery client over a real socket, in the calling thread: blocking reads, with a deadline on
// the whole stream.
template <typename Req, typename Resp>
class AdsClient {
 public:
  using Stub = envoy::service::discovery::v3::AggregatedDiscoveryService::Stub;

  AdsClient(const std::string& address, std::string node_id) : node_id_(std::move(node_id)) {
    grpc::ChannelArguments args;
    args.SetInt("grpc.use_local_subchannel_pool", 1);  // a connection of its own
    args.SetMaxReceiveMessageSize(-1);
    channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args);
    stub_ = std::make_unique<Stub>(channel_);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    if constexpr (std::is_same_v<Req, envoy::service::discovery::v3::DeltaDiscoveryRequest>) {
      stream_ = stub_->DeltaAggregatedResources(&context_);
    } else {
      stream_ = stub_->StreamAggregatedResources(&context_);
    }
  }
  ~AdsClient() {
    if (stream_ != nullptr && !finished_) {
      context_.TryCancel();
      stream_->Finish();
    }
  }

  bool Send(Req request) {
    if (first_) {
      request.mutable_node()->set_id(node_id_);
      request.mutable_node()->set_user_agent_name("test");
    }
    first_ = false;
    return stream_->Write(request);
  }
  bool SendRaw(const Req& request) { return stream_->Write(request); }
  std::optional<Resp> Read() {
    Resp response;
    if (!stream_->Read(&response)) return std::nullopt;
    return response;
  }
  void Ack(const Resp& response) {
    Req request;
    request.set_type_url(response.type_url());
    request.set_response_nonce(response.nonce());
    Send(request);
  }
  void HalfClose() { stream_->WritesDone(); }
  grpc::Status Finish() {
    finished_ = true;
    return stream_->Finish();
  }
  void Cancel() { context_.TryCancel(); }

 private:
  const std::string node_id_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<Req, Resp>> stream_;
  bool first_ = true, finished_ = false;
};

using DeltaClient = AdsClient<envoy::service::discovery::v3::DeltaDiscoveryRequest,
                              envoy::service::discovery::v3::DeltaDiscoveryResponse>;
using SotwClient = AdsClient<envoy::service::discovery::v3::DiscoveryRequest,
                             envoy::service::discovery::v3::DiscoveryResponse>;

}  // namespace weft::ctl::xds
