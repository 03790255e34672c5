#include "bench/gate/h2_server_work.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "test/http/h2/frames.h"

namespace weft::bench {
namespace {

std::string Encode(nghttp2_hd_deflater* deflater) {
  const std::pair<std::string_view, std::string_view> fields[] = {
      {":method", "GET"},
      {":scheme", "http"},
      {":authority", "reviews:9080"},
      {":path", "/reviews/0"},
      {"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"},
      {"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
      {"accept-encoding", "gzip, deflate"},
      {"accept-language", "en-GB,en;q=0.5"},
      {"end-user", "jason"},
      {"x-request-id", "6d1a3a52-8a3c-9f7b-a0ce-5f2a3d1b9c77"},
      {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
  };
  std::vector<nghttp2_nv> nv;
  for (const auto& [name, value] : fields) {
    nv.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                  reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                  NGHTTP2_NV_FLAG_NONE});
  }
  std::string out(nghttp2_hd_deflate_bound(deflater, nv.data(), nv.size()), '\0');
  ssize_t n = nghttp2_hd_deflate_hd(deflater, reinterpret_cast<uint8_t*>(out.data()), out.size(), nv.data(), nv.size());
  out.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return out;
}

}  // namespace

H2ServerWork::H2ServerWork() : payload_(kBody, 'x') {
  nghttp2_hd_deflater* deflater = nullptr;
  nghttp2_hd_deflate_new(&deflater, 4096);
  first_block_ = Encode(deflater);
  block_ = Encode(deflater);  // the same for every request from the second on
  nghttp2_hd_deflate_del(deflater);

  answer_.status = 200;
  answer_.has_body = true;
  answer_.content_length = kBody;
  answer_.headers.Add("content-type", "application/json");
  answer_.headers.Add("date", "Tue, 25 Nov 2025 11:00:00 GMT");
  answer_.headers.Add("x-served-by", "reviews-v1-1");
  for (Stream& s : streams_) s.work = this;

  connection_ = new http::h2::ServerConnection(context_, options_, counters_, std::make_unique<fakes::FakeTransport>(peer_),
                                               this, this);
  connection_->Start();
  test::FrameCodec codec;
  // A window for all answers of a run.
  peer_.Send(std::string(test::kPreface) + codec.Settings() + codec.WindowUpdate(0, (1u << 31) - 65536));
  loop_.RunOnce();
}

H2ServerWork::~H2ServerWork() {
  if (connection_ != nullptr) connection_->Close();
  loop_.RunOnce();
}

bool H2ServerWork::Run(uint64_t n) {
  for (; n > 0; n -= std::min<uint64_t>(n, kAtOnce)) {
    input_.clear();
    for (size_t i = 0; i < kAtOnce; ++i, next_id_ += 2) {
      input_ += test::MakeFrame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS, next_id_,
                                next_id_ == 1 ? first_block_ : block_);
    }
    at_ = 0;
    done_ = 0;
    peer_.Send(input_);
    loop_.RunOnce();
    if (done_ != kAtOnce || connection_ == nullptr || peer_.out.size() < kAtOnce * kBody) return false;
    peer_.out.clear();
  }
  return true;
}

void H2ServerWork::OnRequest(http::ServerStream& stream) {
  Stream& s = streams_[at_++ % kAtOnce];
  stream.set_events(&s);
  s.body.Reset(&s);
  buffer::SliceBuffer bytes;
  bytes.AppendCopy(slab_, payload_);
  for (size_t i = 0; i < bytes.slice_count(); ++i) s.body.Write(bytes.slice(i));
  s.body.End();
  stream.SendResponse(answer_, &s.body);
}

void H2ServerWork::OnClosed(http::ServerConnection& connection) {
  connection_ = nullptr;
  loop_.DeferDelete(std::unique_ptr<http::ServerConnection>(&connection));
}

}  // namespace weft::bench
