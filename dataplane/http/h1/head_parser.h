#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/http/message.h"

namespace weft::http::h1 {

// What HTTP/1.0 requests meet.
enum class Http10 : uint8_t {
  kAccept,
  kNeedHost,  // accepted with a Host field, or when there is a default for it
  kRefuse,    // 426
};

struct HeadLimits {
  uint32_t max_bytes = 60 * 1024;  // start line and fields together; trailers as well
  uint32_t max_headers = 100;
  uint32_t max_chunk_line = 256;  // a chunk's size and extensions, of which nothing is kept
  // Bytes of chunk framing beyond 16 and twice the data of each chunk, summed up: tiny chunks with
  // long extensions make a peer work for nothing.
  uint32_t max_chunk_excess = 16 * 1024;
  Http10 http10 = Http10::kAccept;
  std::string_view http10_host;  // of requests without Host; outlives all messages
};

// What a response answers, as far as its framing depends on it.
struct Asked {
  Asked(std::string_view method, std::string_view upgrade = {})  // NOLINT: a method is all of it
      : method(method), upgrade(upgrade) {}
  Asked(const char* method) : method(method) {}  // NOLINT
  std::string_view method;
  std::string_view upgrade;  // the protocol that was offered; empty: none
};

// Why a message was refused: the status that a server answers (400, 431, 501, 505) and a static
// sentence.
struct ParseError {
  int status = 0;
  std::string_view detail;
  explicit operator bool() const { return status != 0; }
};

// Reads the head of an HTTP/1 message as it arrives: each complete line is taken at once, so that a
// peer that drips bytes costs linear time and an error is found at its line. Strict by RFC 9112:
// CRLF only, no obs-fold, no bare CR, LF or NUL, no space before a colon; anything ambiguous in
// framing is an error. The bytes stay where the caller has them; heads hold views. Owner: a
// connection's message state.
class HeadParser {
 public:
  enum class Result { kNeedMore, kDone, kError };

  void Reset() { *this = HeadParser(); }
  // `buf` holds the message from its first byte; call again with the same bytes and more behind
  // them. kDone: head_bytes() of `buf` are consumed and `head` is complete and checked.
  Result ParseRequest(std::string_view buf, const HeadLimits& limits, RequestHead* head);
  Result ParseResponse(std::string_view buf, const HeadLimits& limits, const Asked& asked,
                       ResponseHead* head);

  size_t head_bytes() const { return at_; }
  const ParseError& error() const { return error_; }
  // Framing found in the head.
  bool chunked() const { return chunked_; }
  bool keep_alive() const { return keep_alive_; }
  // The response's body, or the tunnel that it opens, ends when the stream does.
  bool until_close() const { return until_close_; }
  bool started() const { return at_ > 0; }

 private:
  bool NextLine(std::string_view buf, const HeadLimits& limits, std::string_view* line);
  bool Field(std::string_view line, const HeadLimits& limits, HeaderMap* headers);
  bool RequestLine(std::string_view line, const HeadLimits& limits, RequestHead* head);
  bool StatusLine(std::string_view line, ResponseHead* head);
  bool FinishRequest(const HeadLimits& limits, RequestHead* head);
  bool FinishUpgrade(RequestHead* head);
  bool FinishResponse(const Asked& asked, ResponseHead* head);
  bool FinishTunnel(const Asked& asked, ResponseHead* head);
  // Content-Length and Transfer-Encoding of either direction. length: kUnknownLength when there is
  // none.
  bool Framing(HeaderMap& headers, bool http10, int64_t* length);
  bool Connection(const HeaderMap& headers, bool http10);
  bool Fail(int status, std::string_view detail) {
    error_ = {status, detail};
    return false;
  }

  size_t at_ = 0;    // start of the line being looked for
  size_t scan_ = 0;  // no LF in [at_, scan_)
  ParseError error_;
  bool start_line_ = false;
  bool absolute_form_ = false;
  bool chunked_ = false, keep_alive_ = true, until_close_ = false, has_close_ = false,
       has_upgrade_token_ = false;
};

// Body framing by chunks (RFC 9112 section 7.1), incremental, in place: emits ranges of the input.
class ChunkedDecoder {
 public:
  enum class Result { kNeedMore, kData, kTrailers, kError };
  void Reset() { *this = ChunkedDecoder(); }
  // Takes from the front of *in. kData: *data is a piece of the body. kTrailers: the last chunk is
  // over, *in begins at the trailer section (read it with TrailerParser). kNeedMore: *in is used
  // up.
  Result Next(std::string_view* in, std::string_view* data, const HeadLimits& limits = {});
  const ParseError& error() const { return error_; }

 private:
  enum class State : uint8_t { kSize, kExtension, kSizeLf, kData, kDataCr, kDataLf };
  Result Fail(std::string_view detail) {
    error_ = {400, detail};
    return Result::kError;
  }
  uint64_t left_ = 0;
  uint64_t excess_ = 0;
  uint32_t line_bytes_ = 0;
  uint8_t digits_ = 0;
  State state_ = State::kSize;
  ParseError error_;
};

// Trailer section: field lines up to an empty line. Framing and routing fields are dropped (RFC
// 9110 section 6.5.1).
class TrailerParser {
 public:
  void Reset() { *this = TrailerParser(); }
  HeadParser::Result Parse(std::string_view buf, const HeadLimits& limits, HeaderMap* trailers);
  size_t bytes() const { return at_; }
  const ParseError& error() const { return error_; }

 private:
  size_t at_ = 0, scan_ = 0;
  ParseError error_;
};

// Syntax that other parts need too.
bool IsToken(std::string_view s);
bool IsFieldValue(std::string_view s);
// host or host:port, without userinfo (RFC 9110 section 7.2); `need_port` as CONNECT does (section
// 9.3.6).
bool IsAuthority(std::string_view s, bool need_port = false);

}  // namespace weft::http::h1
