#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/buffer/slice.h"

namespace weft::buffer {

// A queue of slices: bytes on their way. Grows at the back, is consumed at the front; keeps its
// storage, so that a steady stream allocates nothing. Thread: its owner's.
class SliceBuffer {
 public:
  SliceBuffer() = default;
  SliceBuffer(SliceBuffer&&) noexcept = default;
  SliceBuffer& operator=(SliceBuffer&&) noexcept = default;
  SliceBuffer(const SliceBuffer&) = delete;
  SliceBuffer& operator=(const SliceBuffer&) = delete;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t slice_count() const { return slices_.size() - head_; }
  const Slice& slice(size_t i) const { return slices_[head_ + i]; }

  void Append(Slice s) {
    if (s.empty()) return;
    size_ += s.size();
    if (head_ < slices_.size() && slices_.back().TryExtend(s)) return;
    if (head_ > 32 && head_ * 2 > slices_.size()) Compact();
    slices_.push_back(std::move(s));
  }
  // Copies `s` into a block of `slab`, behind the last bytes where they are this buffer's own copy.
  void AppendCopy(Slab& slab, std::string_view s);
  // Takes all of `other`.
  void Splice(SliceBuffer& other) {
    for (size_t i = other.head_; i < other.slices_.size(); ++i) Append(std::move(other.slices_[i]));
    other.Clear();
  }
  // Moves up to `max` bytes from the front of this to the back of `to`.
  size_t MoveTo(SliceBuffer& to, size_t max);
  // Drops n <= size() bytes at the front.
  void Consume(size_t n);
  void Clear() {
    slices_.clear();
    head_ = size_ = 0;
    tail_.reset();
    tail_used_ = 0;
  }
  // Frees the storage too: an idle connection holds none.
  void Release() {
    Clear();
    slices_.shrink_to_fit();
  }
  // For bytes that stay: moves them to a block of their size where that is worth it.
  void Shrink(Slab& slab);
  std::string ToString() const;

 private:
  void Compact();
  std::vector<Slice> slices_;
  size_t head_ = 0;  // slices_ before it are consumed
  size_t size_ = 0;
  BlockRef tail_;  // AppendCopy's current block
  uint32_t tail_used_ = 0;
};

}  // namespace weft::buffer
