#pragma once

#include <string_view>

#include "dataplane/base/arena.h"
#include "dataplane/http/message.h"

namespace weft::http::h2 {

// Why a request is not one: the status of its answer and a static sentence.
struct HeadProblem {
  int status = 0;
  std::string_view detail;
  explicit operator bool() const { return status != 0; }
};

// Collects a request's pseudo fields and fields and makes a RequestHead of them that is as safe to
// write on HTTP/1 as one that came from there (RFC 9113 sections 8.2, 8.3 and 10.3): nghttp2 has
// checked their number, order and names, this checks what they say. Owner: a stream. Thread: the
// worker's.
class RequestHeadBuilder {
 public:
  // Views stay valid as long as the head.
  void Add(std::string_view name, std::string_view value, RequestHead* head);
  // All fields were added. `end_stream`: no body follows.
  HeadProblem Finish(bool end_stream, Arena& arena, RequestHead* head);

 private:
  HeadProblem CheckTarget(RequestHead* head);
  HeadProblem CheckFields(Arena& arena, RequestHead* head);
  std::string_view protocol_;
  bool has_authority_ = false;
};

}  // namespace weft::http::h2
