#include "dataplane/filters/grpc_web/grpc_web.h"

#include "dataplane/http/header_map.h"
#include "dataplane/proxy/body_transform.h"

namespace weft::filters {

using http::HeaderId;

namespace {

constexpr std::string_view kWeb = "application/grpc-web";
constexpr std::string_view kWebText = "application/grpc-web-text";
constexpr char kTrailerFrame = static_cast<char>(0x80);
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// `type`, alone or with a "+format".
bool Is(std::string_view value, std::string_view type) {
  return value.size() >= type.size() &&
         http::EqualsIgnoreCase(value.substr(0, type.size()), type) &&
         (value.size() == type.size() || value[type.size()] == '+' || value[type.size()] == ';');
}

// base64 to bytes.
class FromText final : public proxy::BodyTransform {
  bool Transform(buffer::SliceBuffer& in, bool end, const http::HeaderMap**,
                 std::string_view* error) override {
    text_.clear();
    bool ok = true;
    for (size_t i = 0; i < in.slice_count() && ok; ++i) {
      ok = decoder_.Decode(in.slice(i).view(), &text_);
    }
    if (!ok || (end && !decoder_.complete())) {
      *error = "Bad gRPC-web request, invalid base64 data.";
      return false;
    }
    if (!text_.empty()) Write(text_);
    return true;
  }
  Base64Decoder decoder_;
  std::string text_;
};

// Trailers become the last frame of the body; for text all of it becomes base64.
class ToWeb final : public proxy::BodyTransform {
 public:
  explicit ToWeb(bool text) : text_(text) {}

 private:
  bool Transform(buffer::SliceBuffer& in, bool end, const http::HeaderMap** trailers,
                 std::string_view*) override {
    std::string frame;
    if (end && *trailers != nullptr) {
      frame = TrailerFrame(**trailers);
      *trailers = nullptr;
    }
    if (!text_) {
      for (size_t i = 0; i < in.slice_count(); ++i) Write(in.slice(i));
      if (!frame.empty()) Write(frame);
      return true;
    }
    // Each piece is a text of its own, so that no message waits for the next one.
    std::string plain = in.ToString() + frame, encoded;
    AppendBase64(plain, &encoded);
    if (!encoded.empty()) Write(encoded);
    return true;
  }

  static std::string TrailerFrame(const http::HeaderMap& trailers) {
    std::string fields;
    for (const http::Header& h : trailers) {
      for (char c : h.name) {
        fields.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c);
      }
      fields.append(": ").append(h.value).append("\r\n");
    }
    std::string out(1, kTrailerFrame);
    for (int shift = 24; shift >= 0; shift -= 8) {
      out.push_back(static_cast<char>(fields.size() >> shift & 0xff));
    }
    return out + fields;
  }

  const bool text_;
};

// One exchange. Owner: the Exchange. Thread: the worker's.
class GrpcWeb final : public proxy::Filter {
 public:
  proxy::Verdict OnRequestHead(proxy::Exchange& x) override {
    http::RequestHead& r = x.request();
    auto type = r.headers.Get(HeaderId::kContentType);
    if (!type.has_value()) return proxy::Verdict::kContinue;
    const bool text = Is(*type, kWebText);
    if (!text && !Is(*type, kWeb)) return proxy::Verdict::kContinue;
    web_ = true;
    auto accept = r.headers.Get("accept");
    text_ = accept.has_value() ? Is(*accept, kWebText) : text;
    r.headers.Set(HeaderId::kContentType, "application/grpc");
    r.headers.Remove("content-length");
    r.headers.Set("te", "trailers");
    r.headers.Set("grpc-accept-encoding", "identity,deflate,gzip");
    if (text && r.has_body) {
      r.content_length = http::kUnknownLength;
      x.TransformRequestBody(std::make_unique<FromText>());
    }
    x.MarkGrpc();
    return proxy::Verdict::kContinue;
  }

  proxy::Verdict OnResponseHead(proxy::Exchange& x) override {
    if (!web_) return proxy::Verdict::kContinue;
    http::ResponseHead& r = x.response();
    auto type = r.headers.Get(HeaderId::kContentType);
    if (type.has_value() && !Is(*type, "application/grpc")) return proxy::Verdict::kContinue;
    r.headers.Set(HeaderId::kContentType,
                  text_ ? "application/grpc-web-text+proto" : "application/grpc-web+proto");
    if (!r.has_body) return proxy::Verdict::kContinue;
    r.headers.Remove("content-length");
    r.content_length = http::kUnknownLength;
    x.TransformResponseBody(std::make_unique<ToWeb>(text_));
    return proxy::Verdict::kContinue;
  }

 private:
  bool web_ = false, text_ = false;
};

}  // namespace

std::unique_ptr<proxy::Filter> GrpcWebFilter::Create() const { return std::make_unique<GrpcWeb>(); }

bool Base64Decoder::Decode(std::string_view in, std::string* out) {
  for (char c : in) {
    if (c == '=') {
      if (count_ < 2) return false;
      ++padding_;
      bits_ <<= 6;
    } else {
      size_t value = kAlphabet.find(c);
      if (value == std::string_view::npos || padding_ > 0) return false;
      bits_ = bits_ << 6 | static_cast<uint32_t>(value);
    }
    if (++count_ < 4) continue;
    for (int i = 0; i < 3 - padding_; ++i) {
      out->push_back(static_cast<char>(bits_ >> (16 - 8 * i) & 0xff));
    }
    bits_ = 0;
    count_ = padding_ = 0;
  }
  return true;
}

void AppendBase64(std::string_view in, std::string* out) {
  auto byte = [&](size_t i) {
    return i < in.size() ? static_cast<uint32_t>(static_cast<unsigned char>(in[i])) : 0u;
  };
  for (size_t i = 0; i < in.size(); i += 3) {
    uint32_t bits = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    for (size_t j = 0; j < 4; ++j) {
      out->push_back(i + j > in.size() ? '=' : kAlphabet[bits >> (18 - 6 * j) & 63]);
    }
  }
}

}  // namespace weft::filters
