#pragma once

// One HTTP/2 connection of the origin: nghttp2's server session and the answers that it gives.

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace weft::bench {

// Answers requests on one connection, without I/O: bytes in by Feed(), bytes out by Fill().
//
// Any request gets 200 and the body, when it has ended. One with `content-type: application/grpc`
// gets a gRPC answer: the body as one message, then `grpc-status: 0` in trailers. The path
// `/-/open` gets its header at once and no end, which makes a stream that stays open. Owner: the
// origin's Connection. Thread: the origin's only one. Destroyed when: the connection closes.
class H2Answers {
 public:
  // Both outlive it. `requests` counts those that were answered.
  H2Answers(const std::string* body, uint64_t* requests);
  ~H2Answers();
  H2Answers(const H2Answers&) = delete;
  H2Answers& operator=(const H2Answers&) = delete;

  // False when the peer broke the protocol or the session is over: close.
  bool Feed(std::string_view data);

  // Appends what is to be sent now, until `out` has about `most` bytes.
  bool Fill(std::string* out, size_t most);

 private:
  struct Stream;
  struct Callbacks;

  void Answer(int32_t id, Stream* stream);

  const std::string* body_;
  uint64_t* requests_;
  nghttp2_session* session_ = nullptr;
};

}  // namespace weft::bench
