#include "dataplane/buffer/slice_buffer.h"

#include <algorithm>
#include <cassert>

namespace weft::buffer {

namespace {
constexpr uint32_t kFirstCopyBytes = 480;
}  // namespace

void SliceBuffer::AppendCopy(Slab& slab, std::string_view s) {
  while (!s.empty()) {
    if (!tail_ || tail_used_ == tail_->capacity()) {
      // The first for a few words of framing; who copies more gets larger ones.
      uint32_t bytes = tail_ ? 2 * tail_->capacity() : kFirstCopyBytes;
      bytes = std::max(bytes, static_cast<uint32_t>(std::min<size_t>(s.size(), Slab::kBlockBytes)));
      tail_ = slab.GetSized(std::min(bytes, Slab::kBlockBytes));
      tail_used_ = 0;
    }
    size_t n = std::min<size_t>(s.size(), tail_->capacity() - tail_used_);
    char* to = tail_->data() + tail_used_;
    memcpy(to, s.data(), n);
    tail_used_ += static_cast<uint32_t>(n);
    Append(Slice(tail_, to, n));
    s.remove_prefix(n);
  }
}

size_t SliceBuffer::MoveTo(SliceBuffer& to, size_t max) {
  size_t moved = 0;
  while (moved < max && head_ < slices_.size()) {
    Slice& s = slices_[head_];
    size_t n = std::min(s.size(), max - moved);
    if (n == s.size()) {
      to.Append(std::move(s));
      s = Slice();
      ++head_;
    } else {
      Slice part = s;
      part.Truncate(n);
      s.RemovePrefix(n);
      to.Append(std::move(part));
    }
    moved += n;
  }
  size_ -= moved;
  if (size_ == 0) Clear();
  return moved;
}

void SliceBuffer::Consume(size_t n) {
  assert(n <= size_);
  size_ -= n;
  while (n > 0) {
    Slice& s = slices_[head_];
    if (n < s.size()) {
      s.RemovePrefix(n);
      return;
    }
    n -= s.size();
    s = Slice();
    ++head_;
  }
  if (size_ == 0) Clear();
}

void SliceBuffer::Compact() {
  slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(head_));
  head_ = 0;
}

void SliceBuffer::Shrink(Slab& slab) {
  if (empty()) return;
  size_t pinned = 0;
  const Block* last = nullptr;
  for (size_t i = head_; i < slices_.size(); ++i) {
    const Block* b = slices_[i].block().get();
    if (b != nullptr && b != last) pinned += b->capacity();
    last = b;
  }
  if (tail_ && tail_.get() != last) pinned += tail_->capacity();
  const uint32_t size = static_cast<uint32_t>(size_);
  if (!Slab::WorthMoving(size, pinned)) return;
  BlockRef to = slab.GetSized(size);
  size_t at = 0;
  for (size_t i = head_; i < slices_.size(); ++i) {
    memcpy(to->data() + at, slices_[i].data(), slices_[i].size());
    at += slices_[i].size();
  }
  Clear();
  const char* data = to->data();
  Append(Slice(std::move(to), data, at));
}

std::string SliceBuffer::ToString() const {
  std::string out;
  out.reserve(size_);
  for (size_t i = head_; i < slices_.size(); ++i) out.append(slices_[i].view());
  return out;
}

}  // namespace weft::buffer
