#pragma once

#include <string_view>

#include "dataplane/buffer/body_pipe.h"
#include "dataplane/event/loop.h"

namespace weft::proxy {

// Changes a body on its way: the consumer of one pipe, the producer of another that others consume
// in its place. Bounded like every pipe: it takes no more while its own is full. Owner: the
// Exchange. Thread: the worker's. Destroyed when: the exchange was recorded.
class BodyTransform : private buffer::BodyPipe::Consumer,
                      private buffer::BodyPipe::Producer,
                      private event::TurnEndTask {
 public:
  class Owner {
   public:
    // Its bytes are not what they should be. The transform takes and yields nothing any more.
    virtual void OnTransformFailed(std::string_view detail) = 0;

   protected:
    ~Owner() = default;
  };

  virtual ~BodyTransform();
  // Begins. Returns the pipe to consume.
  buffer::BodyPipe* Attach(event::Loop& loop, buffer::Slab& slab, buffer::BodyPipe* from,
                           Owner* owner);
  // Lets go of the pipe that it takes from, which may be gone after that.
  void Detach();
  buffer::BodyPipe* pipe() { return &out_; }

 protected:
  // Takes all of `in`; `end`: nothing follows, and *trailers are those of the message (may be null),
  // to be replaced when others shall go on. Writes by Write. False, with `*error`, when the bytes
  // are wrong.
  virtual bool Transform(buffer::SliceBuffer& in, bool end, const http::HeaderMap** trailers,
                         std::string_view* error) = 0;
  void Write(std::string_view copied) { out_.WriteCopy(*slab_, copied); }
  void Write(buffer::Slice slice) { out_.Write(std::move(slice)); }

 private:
  void OnPipeReady() override { Pump(); }
  size_t PipeRoom() override { return out_.full() ? 0 : SIZE_MAX; }
  // Comes while the consumer pulls: it is told more at the end of the turn.
  void OnPipeSpace() override { loop_->AtTurnEnd(this); }
  void RunAtTurnEnd() override { Pump(); }
  void Pump();

  event::Loop* loop_ = nullptr;
  buffer::Slab* slab_ = nullptr;
  buffer::BodyPipe* from_ = nullptr;
  Owner* owner_ = nullptr;
  buffer::BodyPipe out_;
  buffer::SliceBuffer in_;
};

}  // namespace weft::proxy
