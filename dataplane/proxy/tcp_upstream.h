#pragma once

#include <cstdint>
#include <memory>

#include "dataplane/buffer/body_pipe.h"
#include "dataplane/event/loop.h"
#include "dataplane/event/timer_wheel.h"
#include "dataplane/http/stream.h"
#include "dataplane/upstream/host.h"

namespace weft::proxy {

// The upstream of a CONNECT that ends here (Envoy's connect_config): a TCP connection behind the
// face of a client stream. Once it is there the answer is 200, and what goes through the tunnel is
// the connection's bytes. Owner: itself; it goes once it was released, cancelled or has failed.
// Thread: the worker's.
class TcpUpstream final : public http::ClientStream,
                          private upstream::TcpDial::Handler,
                          private net::Transport::Handler,
                          private buffer::BodyPipe::Producer,
                          private buffer::BodyPipe::Consumer {
 public:
  // Dials at once. Exactly one of OnStreamReady and OnStreamFailed comes, never from inside Dial;
  // after OnStreamFailed this is gone. `proxied_for`: as in Host::DialTcp.
  static TcpUpstream* Dial(event::Loop& loop, buffer::Slab& slab, upstream::Host& host,
                           std::unique_ptr<const net::ProxiedFor> proxied_for,
                           upstream::StreamRequest* request);
  // Before OnStreamReady: nobody waits any more.
  void Cancel();

  // http::ClientStream.
  void set_events(http::ClientStreamEvents* events) override { events_ = events; }
  void SendRequest(const http::RequestHead& head, buffer::BodyPipe* body) override;
  void Release() override;
  net::Transport& transport() override { return connection_->transport(); }
  bool reused() const override { return false; }
  uint64_t bytes_sent() const override { return sent_; }
  size_t unsent() const override { return out_.size(); }
  uint64_t bytes_received() const override { return received_; }

 private:
  TcpUpstream(event::Loop& loop, buffer::Slab& slab, upstream::StreamRequest* request);

  void OnTcpConnected(std::unique_ptr<upstream::TcpConnection> connection) override;
  void OnTcpFailed(const Error& error) override;
  void OnReadable() override;
  void OnWritable() override;
  void OnPipeSpace() override;
  void OnPipeReady() override;
  size_t PipeRoom() override { return write_blocked_ ? 0 : SIZE_MAX; }

  void Open();
  void Flush();
  void Broken(int error);
  void Close();

  event::Loop& loop_;
  buffer::Slab& slab_;
  upstream::StreamRequest* request_;  // while dialling
  std::unique_ptr<upstream::TcpDial> dial_;
  std::unique_ptr<upstream::TcpConnection> connection_;
  http::ClientStreamEvents* events_ = nullptr;
  http::ResponseHead head_;
  buffer::BodyPipe in_;                // what the upstream sends
  buffer::BodyPipe* body_ = nullptr;   // what it is to get; null when all of it was taken
  buffer::SliceBuffer out_;            // taken, and not yet with the kernel
  buffer::ReadPace pace_;
  event::Timer last_bytes_timer_;
  uint64_t sent_ = 0, received_ = 0;
  bool open_ = false, reading_off_ = false, in_ended_ = false, out_ended_ = false, shut_ = false,
       released_ = false, over_ = false;
  bool write_blocked_ = false;  // the kernel takes no more; OnWritable will come
};

}  // namespace weft::proxy
