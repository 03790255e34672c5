#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace weft::buffer {

class Slab;

// A fixed block of memory that slices share. The count is a plain integer: a block and its slices
// stay on one worker.
class Block {
 public:
  char* data() { return reinterpret_cast<char*>(this + 1); }
  uint32_t capacity() const { return capacity_; }
  uint32_t refs() const { return refs_; }
  void Ref() { ++refs_; }
  void Unref();

 private:
  friend class Slab;
  Slab* slab_ = nullptr;  // null: not pooled
  Block* next_ = nullptr;
  uint32_t refs_ = 0;
  uint32_t capacity_ = 0;
};

// Owning reference to a Block; may be null.
class BlockRef {
 public:
  BlockRef() = default;
  explicit BlockRef(Block* b) : b_(b) {
    if (b_ != nullptr) b_->Ref();
  }
  BlockRef(const BlockRef& o) : BlockRef(o.b_) {}
  BlockRef(BlockRef&& o) noexcept : b_(std::exchange(o.b_, nullptr)) {}
  BlockRef& operator=(BlockRef o) noexcept {
    std::swap(b_, o.b_);
    return *this;
  }
  ~BlockRef() {
    if (b_ != nullptr) b_->Unref();
  }
  Block* get() const { return b_; }
  Block* operator->() const { return b_; }
  explicit operator bool() const { return b_ != nullptr; }
  void reset() { *this = BlockRef(); }

 private:
  Block* b_ = nullptr;
};

// Free lists of equal blocks: a worker's read and write buffers, and a few large ones for bodies
// that arrive faster than ordinary ones take them. An idle connection holds none. Owner: Worker (or
// whoever runs a loop). Thread: its own. Destroyed when: every slice is gone.
class Slab {
 public:
  static constexpr uint32_t kBlockBytes = 16384 - sizeof(Block);
  static constexpr uint32_t kBulkBlockBytes = 65536 - sizeof(Block);
  explicit Slab(size_t max_free = 256) : free_{.max = max_free}, free_bulk_{.max = kMaxFreeBulk} {}
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  BlockRef Get();                     // a block of kBlockBytes
  BlockRef GetBulk();                 // a block of kBulkBlockBytes
  BlockRef GetLarge(uint32_t bytes);  // at least `bytes`; pooled only when it is an ordinary one
  size_t in_use() const { return in_use_; }
  size_t in_use_bytes() const { return in_use_bytes_; }

 private:
  friend class Block;
  struct FreeList {
    Block* first = nullptr;
    size_t count = 0, max = 0;
  };
  static constexpr size_t kMaxFreeBulk = 8;
  void Return(Block* b);
  BlockRef Take(FreeList& list, uint32_t capacity);
  Block* Make(uint32_t capacity, Slab* slab);
  static void Free(FreeList& list);
  FreeList free_, free_bulk_;
  size_t in_use_ = 0, in_use_bytes_ = 0;
};

inline void Block::Unref() {
  if (--refs_ == 0) slab_->Return(this);
}

// Bytes inside a block, or static bytes without one. Copying shares.
class Slice {
 public:
  Slice() = default;
  Slice(BlockRef block, const char* data, size_t size)
      : block_(std::move(block)), data_(data), size_(size) {}
  static Slice Static(std::string_view s) { return Slice(BlockRef(), s.data(), s.size()); }

  const BlockRef& block() const { return block_; }
  const char* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {data_, size_}; }
  void RemovePrefix(size_t n) {
    data_ += n;
    size_ -= n;
  }
  void Truncate(size_t n) { size_ = n; }
  // Appends `more` when it lies right behind this slice in the same block.
  bool TryExtend(const Slice& more) {
    if (block_.get() == nullptr || block_.get() != more.block_.get() || data_ + size_ != more.data_)
      return false;
    size_ += more.size_;
    return true;
  }

 private:
  BlockRef block_;
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace weft::buffer
