#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include "dataplane/base/error.h"
#include "dataplane/buffer/slice_buffer.h"

namespace weft::http {
class HeaderMap;
}

namespace weft::buffer {

// The one class of back-pressure: bytes of one message body from one producer to one consumer,
// bounded. The producer writes slices, then calls Notify() once for all that came out of one read;
// the consumer pulls. When the pipe is full (its own limit, or what the consumer has room for) the
// producer leaves its source unread and goes on at OnPipeSpace(). Owner: the producer (a codec's
// stream). Thread: the worker's. Neither side may be called back after it detached.
class BodyPipe {
 public:
  class Producer {
   public:
    // The consumer took bytes from a pipe that was full.
    virtual void OnPipeSpace() = 0;

   protected:
    ~Producer() = default;
  };
  class Consumer {
   public:
    // There are bytes, the end, or a failure; also called with none of them after a head without
    // body bytes yet.
    virtual void OnPipeReady() = 0;
    // How many bytes it could pass on at once: what its peer's window takes, nothing while its
    // peer's kernel takes nothing. The producer reads no more than that ahead; each byte that waits
    // here waits for a peer that does not read. When it grows from 0, BodyPipe::RoomAgain says so.
    virtual size_t PipeRoom() { return SIZE_MAX; }

   protected:
    ~Consumer() = default;
  };
  enum class State : unsigned char { kOpen, kEnded, kFailed };

  // Bytes above which full() is true. One read may overshoot it.
  static constexpr size_t kDefaultCapacity = 64 * 1024;

  void Reset(Producer* producer, size_t capacity = kDefaultCapacity) {
    data_.Clear();
    again_.Clear();
    kept_.Clear();
    keep_max_ = 0;
    producer_ = producer;
    consumer_ = nullptr;
    trailers_ = nullptr;
    capacity_ = capacity;
    total_ = 0;
    state_ = State::kOpen;
    was_full_ = false;
    error_ = Error();
  }
  void set_consumer(Consumer* c) { consumer_ = c; }
  void DetachProducer() { producer_ = nullptr; }

  // Producer's side.
  void Write(Slice s) {
    total_ += s.size();
    data_.Append(std::move(s));
    if (data_.size() >= capacity_) was_full_ = true;
  }
  // For pieces so small that their share of a block would outweigh them: a peer that sends single
  // bytes in large frames must not make the pipe hold all of its frames.
  void WriteCopy(Slab& slab, std::string_view s) {
    total_ += s.size();
    data_.AppendCopy(slab, s);
    if (data_.size() >= capacity_) was_full_ = true;
  }
  static constexpr size_t kCopyBelow = 512;
  // `trailers` may be null; it stays valid until the consumer is done.
  void End(const http::HeaderMap* trailers = nullptr) {
    state_ = State::kEnded;
    trailers_ = trailers;
  }
  void Fail(const Error& e) {
    state_ = State::kFailed;
    error_ = e;
  }
  // A producer that was told so hears OnPipeSpace.
  bool full() const {
    if (data_.size() < capacity_ &&
        (consumer_ == nullptr || data_.size() < consumer_->PipeRoom())) {
      return false;
    }
    was_full_ = true;
    return true;
  }
  // OnPipeSpace comes at the next Pull, full or not.
  void TellWhenTaken() { was_full_ = true; }
  void Notify() {
    if (consumer_ != nullptr) consumer_->OnPipeReady();
  }

  // Consumer's side.
  size_t available() const { return again_.size() + data_.size(); }
  size_t Pull(SliceBuffer& to, size_t max = SIZE_MAX) {
    if (keep_max_ > 0) Keep(max);
    size_t again = again_.empty() ? 0 : again_.MoveTo(to, max);
    size_t n = again + data_.MoveTo(to, max - again);
    RoomAgain();
    return n;
  }
  // The consumer's peer takes bytes again.
  void RoomAgain() {
    if (!was_full_ || full()) return;
    was_full_ = false;
    if (producer_ != nullptr) producer_->OnPipeSpace();
  }
  // All bytes were pulled and no more will come.
  bool finished() const { return state_ == State::kEnded && available() == 0; }
  bool ended() const { return state_ == State::kEnded; }
  bool failed() const { return state_ == State::kFailed; }
  const Error& error() const { return error_; }
  const http::HeaderMap* trailers() const { return trailers_; }
  // Bytes that the producer wrote so far.
  uint64_t total() const { return total_; }
  // Of those, the ones that the consumer took.
  uint64_t taken() const { return total_ - data_.size(); }

  // For a message that may have to be sent again: from now on what the consumer pulls is kept too,
  // by reference, up to `max` bytes; with more than that nothing is kept any more. In a crowded slab
  // that is so with more than kMaxKeptWhenCrowded: bytes that only might be needed go first.
  void KeepPulled(size_t max) { keep_max_ = max; }
  static constexpr size_t kMaxKeptWhenCrowded = 4096;
  void StopKeeping() {
    keep_max_ = 0;
    kept_.Clear();
  }
  // Whether all bytes of the message so far are here, or can be brought back by Rewind.
  bool CanRewind() const { return kept_.size() + again_.size() == taken(); }
  // Brings back what was kept: the next consumer begins at the first byte.
  void Rewind() {
    kept_.Splice(again_);
    std::swap(kept_, again_);
  }

 private:
  // Slices that are kept hold their blocks, however small they are.
  static constexpr size_t kMaxKept = 16;

  void Keep(size_t max) {
    size_t n = max < available() ? max : available();
    const size_t keep = kept_.size() + n;
    const SliceBuffer& first = again_.empty() ? data_ : again_;
    const Block* block = first.empty() ? nullptr : first.slice(0).block().get();
    const bool crowded = block != nullptr && block->slab().crowded();
    if (keep > keep_max_ || kept_.slice_count() >= kMaxKept ||
        (crowded && keep > kMaxKeptWhenCrowded)) {
      StopKeeping();
      return;
    }
    for (SliceBuffer* from : {&again_, &data_}) {
      for (size_t i = 0; i < from->slice_count() && n > 0; ++i) {
        Slice s = from->slice(i);
        if (s.size() > n) s.Truncate(n);
        n -= s.size();
        kept_.Append(std::move(s));
      }
    }
  }

  SliceBuffer data_;
  SliceBuffer again_;  // what was rewound: comes before data_
  SliceBuffer kept_;   // what was pulled
  size_t keep_max_ = 0;
  Producer* producer_ = nullptr;
  Consumer* consumer_ = nullptr;
  const http::HeaderMap* trailers_ = nullptr;
  size_t capacity_ = kDefaultCapacity;
  uint64_t total_ = 0;
  Error error_;
  State state_ = State::kOpen;
  mutable bool was_full_ = false;  // and the producer was told so
};

}  // namespace weft::buffer
