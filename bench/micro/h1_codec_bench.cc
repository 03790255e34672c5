// HTTP/1 codec: reading heads and chunks, writing heads. One iteration is one message head (or one chunked body).
#include <string>
#include <string_view>

#include "bench/micro/counting_allocator.h"
#include "benchmark/benchmark.h"
#include "dataplane/buffer/slice_buffer.h"
#include "dataplane/http/h1/head_parser.h"
#include "dataplane/http/h1/serializer.h"

namespace weft::http::h1 {
namespace {

// As curl or a health check sends it.
constexpr std::string_view kSmallRequest =
    "GET /ready HTTP/1.1\r\nHost: 127.0.0.1:15000\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";

// As a browser's request looks once productpage has passed its tracing headers on.
constexpr std::string_view kTypicalRequest =
    "GET /reviews/0?lang=en HTTP/1.1\r\n"
    "Host: reviews:9080\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Accept-Language: en-GB,en;q=0.5\r\n"
    "Cookie: session=eyJ1c2VyIjoiamFzb24ifQ.ZWvQ1g.Xn1r8QkqR0q2Xo0kYz5bS3m4H2E\r\n"
    "end-user: jason\r\n"
    "X-Request-Id: 6d1a3a52-8a3c-9f7b-a0ce-5f2a3d1b9c77\r\n"
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    "X-Forwarded-Proto: http\r\n"
    "Connection: keep-alive\r\n"
    "\r\n";

constexpr std::string_view kTypicalResponse =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 1024\r\n"
    "Date: Tue, 25 Nov 2025 11:00:00 GMT\r\n"
    "Server: reviews\r\n"
    "Cache-Control: no-store\r\n"
    "x-served-by: reviews-v1-1\r\n"
    "\r\n";

std::string ManyHeaders() {
  std::string s = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 99; ++i) s += "x-header-number-" + std::to_string(i) + ": " + std::string(200, 'v') + "\r\n";
  return s + "\r\n";
}

void ParseRequests(benchmark::State& state, std::string_view text) {
  HeadParser parser;
  RequestHead head;
  HeadLimits limits;
  if (parser.ParseRequest(text, limits, &head) != HeadParser::Result::kDone) {
    state.SkipWithError("the request was refused");
  }
  bench::AllocationScope scope;
  for (auto _ : state) {
    parser.Reset();
    head.Clear();
    benchmark::DoNotOptimize(parser.ParseRequest(text, limits, &head));
    benchmark::DoNotOptimize(head.path.data());
  }
  bench::ReportAllocations(state, scope);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(text.size()));
}

void BM_H1Request_Small(benchmark::State& state) { ParseRequests(state, kSmallRequest); }
BENCHMARK(BM_H1Request_Small);
void BM_H1Request_Typical(benchmark::State& state) { ParseRequests(state, kTypicalRequest); }
BENCHMARK(BM_H1Request_Typical);
void BM_H1Request_ManyHeaders(benchmark::State& state) {
  static const std::string text = ManyHeaders();
  ParseRequests(state, text);
}
BENCHMARK(BM_H1Request_ManyHeaders);

// A peer that drips: the head arrives 16 bytes at a time, which must cost linear time.
void BM_H1Request_Dripped(benchmark::State& state) {
  HeadParser parser;
  RequestHead head;
  HeadLimits limits;
  bench::AllocationScope scope;
  for (auto _ : state) {
    parser.Reset();
    head.Clear();
    HeadParser::Result r = HeadParser::Result::kNeedMore;
    for (size_t n = 16; r == HeadParser::Result::kNeedMore; n += 16) {
      r = parser.ParseRequest(kTypicalRequest.substr(0, n), limits, &head);
    }
    if (r != HeadParser::Result::kDone) state.SkipWithError("the request was refused");
  }
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_H1Request_Dripped);

void BM_H1Response_Typical(benchmark::State& state) {
  HeadParser parser;
  ResponseHead head;
  HeadLimits limits;
  if (parser.ParseResponse(kTypicalResponse, limits, "GET", &head) != HeadParser::Result::kDone ||
      head.content_length != 1024) {
    state.SkipWithError("the response was refused");
  }
  bench::AllocationScope scope;
  for (auto _ : state) {
    parser.Reset();
    head.Clear();
    benchmark::DoNotOptimize(parser.ParseResponse(kTypicalResponse, limits, "GET", &head));
  }
  bench::ReportAllocations(state, scope);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(kTypicalResponse.size()));
}
BENCHMARK(BM_H1Response_Typical);

// A body of 64 KB in chunks of range(0) bytes.
void BM_H1Chunked_Decode(benchmark::State& state) {
  const size_t chunk = static_cast<size_t>(state.range(0));
  std::string text;
  char line[20];
  for (size_t sent = 0; sent < 65536; sent += chunk) {
    snprintf(line, sizeof(line), "%zx\r\n", chunk);
    text += line + std::string(chunk, 'x') + "\r\n";
  }
  text += "0\r\n\r\n";
  ChunkedDecoder decoder;
  auto decode = [&] {
    decoder.Reset();
    std::string_view in = text, data;
    size_t bytes = 0;
    ChunkedDecoder::Result r;
    while ((r = decoder.Next(&in, &data)) == ChunkedDecoder::Result::kData) bytes += data.size();
    return r == ChunkedDecoder::Result::kTrailers ? bytes : 0;
  };
  if (decode() != 65536) state.SkipWithError("the body was refused");
  bench::AllocationScope scope;
  for (auto _ : state) benchmark::DoNotOptimize(decode());
  bench::ReportAllocations(state, scope);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * 65536);
}
BENCHMARK(BM_H1Chunked_Decode)->Arg(64)->Arg(4096)->Arg(65536);

// Chunks of 1 KB framed out of a body that arrives in one block.
void BM_H1Chunked_Encode(benchmark::State& state) {
  buffer::Slab slab;
  buffer::SliceBuffer data, out;
  const std::string body(1024, 'x');
  auto encode = [&] {
    data.Append(buffer::Slice::Static(body));
    WriteChunk(data, slab, out);
    WriteLastChunk(nullptr, slab, out);
    size_t n = out.size();
    out.Clear();
    return n;
  };
  if (encode() != 5 + 1024 + 2 + 5) state.SkipWithError("the chunk is wrong");
  bench::AllocationScope scope;
  for (auto _ : state) benchmark::DoNotOptimize(encode());
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_H1Chunked_Encode);

void BM_H1Write_Request(benchmark::State& state) {
  HeadParser parser;
  RequestHead head;
  parser.ParseRequest(kTypicalRequest, {}, &head);
  RemoveHopByHop(head.headers);
  buffer::Slab slab;
  buffer::SliceBuffer out;
  WriteRequest(head, slab, out);
  if (!out.ToString().ends_with("\r\n\r\n")) state.SkipWithError("the head is wrong");
  out.Clear();
  bench::AllocationScope scope;
  for (auto _ : state) {
    benchmark::DoNotOptimize(WriteRequest(head, slab, out));
    out.Clear();
  }
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_H1Write_Request);

void BM_H1Write_Response(benchmark::State& state) {
  HeadParser parser;
  ResponseHead head;
  parser.ParseResponse(kTypicalResponse, {}, "GET", &head);
  RemoveHopByHop(head.headers);
  buffer::Slab slab;
  buffer::SliceBuffer out;
  WriteResponse(head, {}, slab, out);
  if (out.ToString().find("content-length: 1024\r\n") == std::string::npos) state.SkipWithError("the head is wrong");
  out.Clear();
  bench::AllocationScope scope;
  for (auto _ : state) {
    benchmark::DoNotOptimize(WriteResponse(head, {}, slab, out));
    out.Clear();
  }
  bench::ReportAllocations(state, scope);
}
BENCHMARK(BM_H1Write_Response);

}  // namespace
}  // namespace weft::http::h1
