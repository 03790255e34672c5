#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::test {

using Fields = std::vector<std::pair<std::string, std::string>>;

// One HTTP/2 frame as it is on the wire. `fields`: of HEADERS (with CONTINUATION).
struct Frame {
  uint8_t type = 0, flags = 0;
  uint32_t stream = 0;
  std::string payload;
  Fields fields;

  bool end_stream() const { return (flags & NGHTTP2_FLAG_END_STREAM) != 0; }
  // First 32 bits of the payload: RST_STREAM's error, WINDOW_UPDATE's increment.
  uint32_t word(size_t at = 0) const;
};

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

std::string MakeFrame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
std::string Word(uint32_t value);

// Writes and reads frames by hand, right or wrong ones; only HPACK is nghttp2's. Owner: the test.
// Thread: its own.
class FrameCodec {
 public:
  FrameCodec();
  ~FrameCodec();
  FrameCodec(const FrameCodec&) = delete;
  FrameCodec& operator=(const FrameCodec&) = delete;

  // A header block.
  std::string Block(const Fields& fields);
  std::string Headers(uint32_t stream, const Fields& fields, bool end_stream);
  std::string Data(uint32_t stream, std::string_view bytes, bool end_stream);
  std::string Reset(uint32_t stream, uint32_t error);
  std::string WindowUpdate(uint32_t stream, uint32_t increment);
  std::string Settings(const std::vector<std::pair<uint16_t, uint32_t>>& values = {});

  // Takes whole frames from the front of *bytes.
  std::vector<Frame> Parse(std::string* bytes);

 private:
  nghttp2_hd_deflater* deflater_ = nullptr;
  nghttp2_hd_inflater* inflater_ = nullptr;
};

}  // namespace weft::test
