#include "dataplane/http/h1/incoming.h"

#include <algorithm>
#include <cstring>

namespace weft::http::h1 {

// ---- ReadBuffer

void ReadBuffer::Adopt(const buffer::Slice& bytes) {
  block_ = bytes.block();
  begin_ = static_cast<uint32_t>(bytes.data() - block_->data());
  end_ = begin_ + static_cast<uint32_t>(bytes.size());
}

bool ReadBuffer::MakeSpace(buffer::Slab& slab) {
  constexpr uint32_t kMinSpace = 2048;
  if (block_ && begin_ != end_) return end_ < block_->capacity();
  const uint32_t wanted = pace_.Next(slab);
  if (block_) {
    if (block_->refs() == 1 && block_->capacity() >= wanted) {
      begin_ = end_ = 0;  // nobody views it any more
      return true;
    }
    if (block_->capacity() - end_ >= kMinSpace && wanted <= buffer::Slab::kBlockBytes) return true;
  }
  block_ = slab.GetSized(wanted);
  begin_ = end_ = 0;
  return true;
}

ssize_t ReadBuffer::Read(net::Transport& transport, bool body) {
  const uint32_t space = block_->capacity() - end_;
  iovec iov = {block_->data() + end_, space};
  ssize_t n = transport.Read(&iov, 1);
  if (n <= 0) return n;
  if (body) {
    pace_.OnRead(static_cast<size_t>(n), static_cast<uint32_t>(n) == space);
  } else {
    pace_.OnOther();
  }
  end_ += static_cast<uint32_t>(n);
  return n;
}

// ---- IncomingMessage

void IncomingMessage::Clear() {
  parser.Reset();
  chunks.Reset();
  trailer_parser.Reset();
  trailers.Clear();
  head_block.reset();
  trailer_block.reset();
  body.Reset(nullptr);
  error = {};
  body_left = 0;
  received = 0;
  framing = Framing::kNone;
  notify = false;
}

void IncomingMessage::StartBody(buffer::BodyPipe::Producer* producer, uint32_t buffer_bytes,
                                int64_t content_length) {
  body.Reset(producer, buffer_bytes);
  body_left = content_length;
  framing = parser.chunked()       ? Framing::kChunked
            : parser.until_close() ? Framing::kUntilEnd
                                   : Framing::kLength;
}

IncomingMessage::Result IncomingMessage::ReadBody(ReadBuffer& in, buffer::Slab& slab,
                                                  const HeadLimits& limits) {
  for (;;) {
    switch (framing) {
      case Framing::kNone:
        return Result::kComplete;
      case Framing::kLength:
      case Framing::kUntilEnd:
        return ReadPlain(in);
      case Framing::kChunked: {
        const Result r = ReadChunks(in, slab, limits);
        if (framing == Framing::kChunked) return r;
        break;
      }
      case Framing::kTrailers:
        return ReadTrailers(in, limits);
    }
  }
}

IncomingMessage::Result IncomingMessage::EndOfStream() {
  if (framing != Framing::kUntilEnd) return Result::kNeedMore;
  return Complete(nullptr);
}

IncomingMessage::Result IncomingMessage::ReadPlain(ReadBuffer& in) {
  if (body.full()) return Result::kNeedMore;
  size_t n = in.size();
  if (framing == Framing::kLength) n = std::min(n, static_cast<size_t>(body_left));
  if (n > 0) {
    body.Write(buffer::Slice(in.block(), in.view().data(), n));
    in.Consume(n);
    received += n;
    notify = true;
  }
  if (framing == Framing::kLength) {
    body_left -= static_cast<int64_t>(n);
    if (body_left == 0) return Complete(nullptr);
  }
  return Result::kNeedMore;
}

IncomingMessage::Result IncomingMessage::ReadChunks(ReadBuffer& in, buffer::Slab& slab,
                                                    const HeadLimits& limits) {
  while (!body.full()) {
    std::string_view rest = in.view();
    const size_t before = rest.size();
    std::string_view data;
    const ChunkedDecoder::Result r = chunks.Next(&rest, &data, limits);
    in.Consume(before - rest.size());
    switch (r) {
      case ChunkedDecoder::Result::kNeedMore:
        return Result::kNeedMore;
      case ChunkedDecoder::Result::kData:
        if (data.size() < buffer::BodyPipe::kCopyBelow) {
          body.WriteCopy(slab, data);
        } else {
          body.Write(buffer::Slice(in.block(), data.data(), data.size()));
        }
        received += data.size();
        notify = true;
        break;
      case ChunkedDecoder::Result::kTrailers:
        framing = Framing::kTrailers;
        return Result::kNeedMore;
      case ChunkedDecoder::Result::kError:
        return Fail(chunks.error());
    }
  }
  return Result::kNeedMore;
}

IncomingMessage::Result IncomingMessage::ReadTrailers(ReadBuffer& in, const HeadLimits& limits) {
  switch (trailer_parser.Parse(in.view(), limits, &trailers)) {
    case HeadParser::Result::kNeedMore:
      return Result::kNeedMore;
    case HeadParser::Result::kError:
      return Fail(trailer_parser.error());
    case HeadParser::Result::kDone:
      break;
  }
  in.Consume(trailer_parser.bytes());
  if (!trailers.empty()) trailer_block = in.block();
  return Complete(trailers.empty() ? nullptr : &trailers);
}

IncomingMessage::Result IncomingMessage::Complete(const HeaderMap* with) {
  body.End(with);
  notify = true;
  framing = Framing::kNone;
  return Result::kComplete;
}

}  // namespace weft::http::h1
