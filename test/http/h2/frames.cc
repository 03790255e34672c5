#include "test/http/h2/frames.h"

#include <cassert>

namespace weft::test {

uint32_t Frame::word(size_t at) const {
  if (payload.size() < at + 4) return 0;
  uint32_t v = 0;
  for (size_t i = 0; i < 4; ++i) v = v << 8 | static_cast<uint8_t>(payload[at + i]);
  return v;
}

std::string Word(uint32_t v) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(v >> shift));
  return out;
}

std::string MakeFrame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string out = Word(static_cast<uint32_t>(payload.size())).substr(1);
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  out += Word(stream);
  out += payload;
  return out;
}

FrameCodec::FrameCodec() {
  // Without a dynamic table blocks may be made in any order (operands of + have none).
  nghttp2_hd_deflate_new(&deflater_, 0);
  nghttp2_hd_inflate_new(&inflater_);
}

FrameCodec::~FrameCodec() {
  nghttp2_hd_deflate_del(deflater_);
  nghttp2_hd_inflate_del(inflater_);
}

std::string FrameCodec::Block(const Fields& fields) {
  std::vector<nghttp2_nv> nv;
  for (const auto& [name, value] : fields) {
    nv.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                  reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(),
                  value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  std::string out(nghttp2_hd_deflate_bound(deflater_, nv.data(), nv.size()), '\0');
  ssize_t n = nghttp2_hd_deflate_hd(deflater_, reinterpret_cast<uint8_t*>(out.data()), out.size(),
                                    nv.data(), nv.size());
  assert(n >= 0);
  out.resize(static_cast<size_t>(n));
  return out;
}

std::string FrameCodec::Headers(uint32_t stream, const Fields& fields, bool end_stream) {
  constexpr size_t kMax = 16384;
  std::string block = Block(fields), out;
  uint8_t end = end_stream ? NGHTTP2_FLAG_END_STREAM : 0;
  bool first = true;
  do {
    std::string piece = block.substr(0, kMax);
    block.erase(0, piece.size());
    uint8_t flags =
        static_cast<uint8_t>((block.empty() ? NGHTTP2_FLAG_END_HEADERS : 0) | (first ? end : 0));
    out += MakeFrame(first ? NGHTTP2_HEADERS : NGHTTP2_CONTINUATION, flags, stream, piece);
    first = false;
  } while (!block.empty());
  return out;
}

std::string FrameCodec::Data(uint32_t stream, std::string_view bytes, bool end_stream) {
  return MakeFrame(NGHTTP2_DATA, end_stream ? NGHTTP2_FLAG_END_STREAM : 0, stream, bytes);
}

std::string FrameCodec::Reset(uint32_t stream, uint32_t error) {
  return MakeFrame(NGHTTP2_RST_STREAM, 0, stream, Word(error));
}

std::string FrameCodec::WindowUpdate(uint32_t stream, uint32_t increment) {
  return MakeFrame(NGHTTP2_WINDOW_UPDATE, 0, stream, Word(increment));
}

std::string FrameCodec::Settings(const std::vector<std::pair<uint16_t, uint32_t>>& values) {
  std::string payload;
  for (const auto& [id, value] : values) payload += Word(id).substr(2) + Word(value);
  return MakeFrame(NGHTTP2_SETTINGS, 0, 0, payload);
}

std::vector<Frame> FrameCodec::Parse(std::string* bytes) {
  std::vector<Frame> out;
  size_t at = 0;
  while (bytes->size() - at >= 9) {
    auto byte = [&](size_t i) { return static_cast<uint8_t>((*bytes)[at + i]); };
    size_t length =
        static_cast<size_t>(byte(0)) << 16 | static_cast<size_t>(byte(1)) << 8 | byte(2);
    if (bytes->size() - at < 9 + length) break;
    Frame f;
    f.type = byte(3);
    f.flags = byte(4);
    f.stream = static_cast<uint32_t>(byte(5) & 0x7f) << 24 | static_cast<uint32_t>(byte(6)) << 16 |
               static_cast<uint32_t>(byte(7)) << 8 | byte(8);
    f.payload = bytes->substr(at + 9, length);
    at += 9 + length;
    if (f.type == NGHTTP2_CONTINUATION && !out.empty()) {
      out.back().payload += f.payload;
      out.back().flags |= f.flags;
      f = std::move(out.back());
      out.pop_back();
    }
    if (f.type == NGHTTP2_HEADERS && (f.flags & NGHTTP2_FLAG_END_HEADERS) != 0) {
      const uint8_t* in = reinterpret_cast<const uint8_t*>(f.payload.data());
      size_t left = f.payload.size();
      for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, in, left, 1);
        assert(n >= 0);
        in += n;
        left -= static_cast<size_t>(n);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
          f.fields.emplace_back(std::string(reinterpret_cast<char*>(nv.name), nv.namelen),
                                std::string(reinterpret_cast<char*>(nv.value), nv.valuelen));
        }
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
          nghttp2_hd_inflate_end_headers(inflater_);
          break;
        }
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) break;
      }
    }
    out.push_back(std::move(f));
  }
  bytes->erase(0, at);
  return out;
}

}  // namespace weft::test
