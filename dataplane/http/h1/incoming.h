#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "dataplane/buffer/body_pipe.h"
#include "dataplane/http/h1/head_parser.h"
#include "dataplane/net/transport.h"

namespace weft::http::h1 {

// Bytes that a connection has read and not yet used, in one block of the worker's slab; heads and
// bodies become views of it. Holds nothing while there are none and nobody views them. Owner: a
// connection. Thread: the worker's.
class ReadBuffer {
 public:
  std::string_view view() const {
    return block_ ? std::string_view(block_->data() + begin_, end_ - begin_) : std::string_view();
  }
  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  const buffer::BlockRef& block() const { return block_; }
  void Consume(size_t n) { begin_ += static_cast<uint32_t>(n); }
  // Gives the block back.
  void Release() {
    block_.reset();
    begin_ = end_ = 0;
  }
  // To be called when all was used that can be: keeps a block without bytes only where the next read
  // shares it with what is still viewed. `more`: a read may follow soon.
  void Idle(bool more) {
    if (block_ && begin_ == end_ && (!more || block_->refs() == 1)) Release();
  }
  // Another body begins.
  void BeginBody() { pace_.Reset(); }
  // The body's receiver takes no more now.
  void Pause() { pace_.OnPause(); }
  // Begins with bytes that another owner of the transport has read.
  void Adopt(const buffer::Slice& bytes);

  // Room for the next read where no head or trailer section is under way; false when there is none.
  bool MakeSpace(buffer::Slab& slab);
  // Room for more of the section that begins at view().begin(), up to `most` bytes of it; `moved`
  // is told where its bytes went when they had to move: moved(from, size, to).
  template <typename Moved>
  bool MakeSectionSpace(buffer::Slab& slab, uint32_t most, Moved moved) {
    if (!block_) return MakeSpace(slab);
    const bool shrunk = block_->capacity() < buffer::Slab::kSmallBlockBytes;
    if (end_ < block_->capacity() && !shrunk) return true;
    const uint32_t used = end_ - begin_;
    if (used >= most) return false;
    Move(slab.GetLarge(std::min(std::max(used * 2, buffer::Slab::kBlockBytes), most)), moved);
    return true;
  }
  // The rest of the section comes when its peer likes: what there is of it leaves a block that is
  // much larger. `moved` as above.
  template <typename Moved>
  void ShrinkSection(buffer::Slab& slab, Moved moved) {
    const uint32_t used = end_ - begin_;
    if (used == 0 || block_->capacity() < buffer::Slab::kSmallBlockBytes) return;
    if (block_->capacity() < 4 * used) return;
    Move(slab.GetSized(used), moved);
  }
  // One read; as Transport::Read. `body`: what comes is a body's, most likely.
  ssize_t Read(net::Transport& transport, bool body);

 private:
  template <typename Moved>
  void Move(buffer::BlockRef to, Moved moved) {
    const uint32_t used = end_ - begin_;
    const buffer::BlockRef old = std::exchange(block_, std::move(to));
    memcpy(block_->data(), old->data() + begin_, used);
    moved(old->data() + begin_, used, block_->data());
    begin_ = 0;
    end_ = used;
  }

  buffer::BlockRef block_;
  uint32_t begin_ = 0, end_ = 0;
  buffer::ReadPace pace_;
};

// A message that is being received, of either direction: the parsers' state, the body's pipe and
// the trailers. The head itself is its owner's, since its type differs. Owner: a connection's pooled
// message state. Thread: the worker's.
struct IncomingMessage {
  enum class Framing : uint8_t {
    kNone,
    kLength,
    kChunked,
    kTrailers,
    kUntilEnd,  // of the stream: a response without a length, or a tunnel
  };
  enum class Result : uint8_t {
    kNeedMore,  // bytes, or room in the pipe
    kComplete,  // the body and its trailers are in the pipe, which has ended
    kError,     // see `error`
  };

  // Of the message that the parser has read the head of. `producer` hears when the pipe has room.
  void StartBody(buffer::BodyPipe::Producer* producer, uint32_t buffer_bytes,
                 int64_t content_length);
  // Of a head that was parsed, while nobody else has views of it: moves its bytes out of the block
  // that they were read into. A body or an answer may take as long as it likes, and shall not hold a
  // whole block for a head.
  template <typename Head>
  void CopyHead(std::string_view bytes, buffer::Slab& slab, Head* head) {
    head_block = slab.GetSized(static_cast<uint32_t>(bytes.size()));
    memcpy(head_block->data(), bytes.data(), bytes.size());
    head->Rebase(bytes.data(), bytes.size(), head_block->data());
  }
  // Opens the pipe of a tunnel, into which nothing goes before framing is kUntilEnd.
  void OpenPipe(buffer::BodyPipe::Producer* producer, uint32_t buffer_bytes) {
    body.Reset(producer, buffer_bytes);
  }
  // Moves what `in` has to the pipe; sets `notify` when the consumer should look.
  Result ReadBody(ReadBuffer& in, buffer::Slab& slab, const HeadLimits& limits);
  // The stream has ended. Complete only where that is the body's end.
  Result EndOfStream();
  bool in_trailers() const { return framing == Framing::kTrailers; }
  // Tells the pipe's consumer what ReadBody did.
  void Notify() {
    if (!notify) return;
    notify = false;
    body.Notify();
  }
  void Clear();

  HeadParser parser;
  ChunkedDecoder chunks;
  TrailerParser trailer_parser;
  HeaderMap trailers;
  buffer::BlockRef head_block, trailer_block;  // pin the bytes that the head and trailers view
  buffer::BodyPipe body;
  ParseError error;
  int64_t body_left = 0;  // with kLength
  uint64_t received = 0;  // body bytes
  Framing framing = Framing::kNone;
  bool notify = false;

 private:
  Result ReadPlain(ReadBuffer& in);
  Result ReadChunks(ReadBuffer& in, buffer::Slab& slab, const HeadLimits& limits);
  Result ReadTrailers(ReadBuffer& in, const HeadLimits& limits);
  Result Complete(const HeaderMap* with);
  Result Fail(const ParseError& e) {
    error = e;
    return Result::kError;
  }
};

}  // namespace weft::http::h1
