#pragma once

#include <nghttp2/nghttp2.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/event/loop.h"
#include "dataplane/net/transport.h"

namespace weft::test {

using Fields = std::vector<std::pair<std::string, std::string>>;

// An HTTP/2 server over nghttp2's server session, on the loop of the test. It records what arrives and sends what the
// test says; with `Raw()` it writes any bytes.
// Owner: the test. Thread: the loop's.
class FakeH2Server final : private net::Transport::Handler, private event::TurnEndTask {
 public:
  struct Stream {
    int32_t id = 0;
    Fields head, trailers;
    std::string body;
    bool head_done = false, ended = false, closed = false;
    uint32_t error = 0;  // of RST_STREAM
    // What is to be sent.
    std::string out;
    bool out_end = false, out_deferred = false;
    Fields out_trailers;
  };

  FakeH2Server(event::Loop& loop, std::unique_ptr<net::Transport> transport, bool auto_window = true,
               std::vector<nghttp2_settings_entry> settings = {});
  ~FakeH2Server();

  // Called when a request's head is complete, and at each later change of it.
  std::function<void(Stream&)> on_change;

  std::vector<Stream*> streams();
  Stream* stream(int32_t id);
  void Informational(int32_t id, const Fields& fields);
  // Head only when `end`; else Data() and End() follow.
  void Respond(int32_t id, const Fields& fields, bool end);
  void Data(int32_t id, std::string_view bytes);
  void End(int32_t id, const Fields& trailers = {});
  void Reset(int32_t id, uint32_t error);
  void GoAway(int32_t last_id, uint32_t error);
  // Tells that the test has consumed body bytes (with auto_window false).
  void Consume(int32_t id, size_t n);
  void Raw(std::string_view bytes);
  void CloseTransport() { transport_.reset(); }
  void StopReading() { transport_->SetReading(false); }
  nghttp2_session* h2() { return h2_; }

  bool peer_closed() const { return peer_closed_; }
  int pings() const { return pings_; }
  bool answer_pings = true;
  uint64_t window_updates = 0;  // sum of the increments that arrived
  bool goaway_received = false;

 private:
  struct Callbacks;
  void OnReadable() override;
  void OnWritable() override { Schedule(); }
  void RunAtTurnEnd() override;
  void Schedule() { loop_.AtTurnEnd(this); }

  event::Loop& loop_;
  std::unique_ptr<net::Transport> transport_;
  nghttp2_session* h2_ = nullptr;
  std::map<int32_t, Stream> streams_;
  std::string pending_;
  bool peer_closed_ = false;
  int pings_ = 0;
};

// A connected pair of transports over a socketpair.
std::pair<std::unique_ptr<net::Transport>, std::unique_ptr<net::Transport>> TransportPair(event::Loop& loop);

// Runs the loop until `done` or 5 s have passed; true when done.
bool RunUntil(event::Loop& loop, const std::function<bool()>& done);

}  // namespace weft::test
