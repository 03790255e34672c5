#include "dataplane/proxy/body_transform.h"

#include <utility>

namespace weft::proxy {

BodyTransform::~BodyTransform() = default;

buffer::BodyPipe* BodyTransform::Attach(event::Loop& loop, buffer::Slab& slab,
                                        buffer::BodyPipe* from, Owner* owner) {
  loop_ = &loop;
  slab_ = &slab;
  from_ = from;
  owner_ = owner;
  out_.Reset(this);
  from->set_consumer(this);
  loop.AtTurnEnd(this);  // what is there already
  return &out_;
}

void BodyTransform::Detach() {
  TurnEndTask::Unlink();
  if (from_ != nullptr) from_->set_consumer(nullptr);
  from_ = nullptr;
  out_.set_consumer(nullptr);
}

void BodyTransform::Pump() {
  if (from_ == nullptr || out_.ended() || out_.failed() || out_.full()) return;
  if (from_->failed()) {
    out_.Fail(from_->error());
    out_.Notify();
    return;
  }
  from_->Pull(in_);
  const bool end = from_->finished();
  if (in_.empty() && !end) return;
  const http::HeaderMap* trailers = end ? from_->trailers() : nullptr;
  std::string_view error;
  if (!Transform(in_, end, &trailers, &error)) {
    Owner* owner = owner_;
    Detach();
    owner->OnTransformFailed(error);
    return;
  }
  in_.Clear();
  if (end) out_.End(trailers);
  out_.Notify();
}

}  // namespace weft::proxy
