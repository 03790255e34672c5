#pragma once

#include <bit>
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
  const Slab& slab() const { return *slab_; }
  void Ref() { ++refs_; }
  void Unref();

 private:
  friend class Slab;
  Slab* slab_ = nullptr;
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

// Free lists of blocks by size: a worker's read and write buffers, from what a head takes to what
// bodies take that arrive faster than ordinary blocks could. An idle connection holds none. Owner:
// Worker (or whoever runs a loop). Thread: its own. Destroyed when: every slice is gone.
class Slab {
 public:
  static constexpr uint32_t kSmallBlockBytes = 4096 - sizeof(Block);
  static constexpr uint32_t kBlockBytes = 16384 - sizeof(Block);
  static constexpr uint32_t kBulkBlockBytes = 65536 - sizeof(Block);
  // What is in use is what somebody does not take: with more than this every further reader gets
  // little at a time.
  static constexpr size_t kCrowdedBytes = 1024 * 1024;

  explicit Slab(size_t max_free = 256);
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  BlockRef Get() { return Take(ClassOf(kBlockBytes)); }          // a block of kBlockBytes
  BlockRef GetBulk() { return Take(ClassOf(kBulkBlockBytes)); }  // a block of kBulkBlockBytes
  // At least `bytes`, an ordinary block or a larger one; pooled only up to kBulkBlockBytes.
  BlockRef GetLarge(uint32_t bytes) { return GetSized(bytes < kBlockBytes ? kBlockBytes : bytes); }
  // At least `bytes`, and at most half as much again (or 512): for what stays. Pooled up to
  // kBulkBlockBytes.
  BlockRef GetSized(uint32_t bytes);
  // Whether so many bytes that stay, in blocks of so many together, should move to one of their size:
  // when that frees a quarter of an ordinary block or half of larger ones. Bytes that moved have to
  // become a good deal fewer before they move again, so each is copied about once.
  static bool WorthMoving(uint32_t bytes, size_t pinned) {
    const size_t most = pinned <= kBlockBytes ? pinned / 4 * 3 : pinned / 2;
    return bytes <= most && CapacityOf(ClassOf(bytes)) <= most;
  }
  bool crowded() const { return in_use_bytes_ > kCrowdedBytes; }
  size_t in_use() const { return in_use_; }
  size_t in_use_bytes() const { return in_use_bytes_; }

 private:
  friend class Block;
  struct FreeList {
    Block* first = nullptr;
    size_t count = 0, max = 0;
  };
  // Blocks of 512 bytes, 768, 1 KB, 1.5 KB, ... 64 KB, their headers included.
  static constexpr int kMinShift = 9, kMaxShift = 16;
  static constexpr int ClassOf(uint32_t capacity) {
    const uint32_t bytes = capacity + sizeof(Block);
    if (bytes <= 1u << kMinShift) return 0;
    const int shift = std::bit_width(bytes - 1) - 1;  // the power of two below
    return 2 * (shift - kMinShift) + (bytes <= 3u << (shift - 1) ? 1 : 2);
  }
  static constexpr uint32_t CapacityOf(int size_class) {
    return ((size_class % 2 == 0 ? 2u : 3u) << (kMinShift - 1 + size_class / 2)) - sizeof(Block);
  }
  void Return(Block* b);
  BlockRef Take(int size_class);
  Block* Make(uint32_t capacity);
  FreeList free_[2 * (kMaxShift - kMinShift) + 1];
  size_t in_use_ = 0, in_use_bytes_ = 0;
};

// How much to read at a time for one body, whose receiver is not known yet: begins with ordinary
// blocks and grows with what the receiver took without a pause, so that whoever stops early leaves
// little behind, and a long transfer soon pays for one system call where it would for four. In a
// crowded slab it begins with less, and grows late. Owner: a reader. Thread: its owner's.
class ReadPace {
 public:
  // Another body begins.
  void Reset() { *this = ReadPace(); }
  // Bytes of a body were read, and filled the space that there was (or not: then no more wait).
  void OnRead(size_t n, bool filled) {
    taken_ += n;
    filled_ = filled;
  }
  void OnOther() { filled_ = false; }  // bytes that are no body
  // The receiver takes no more now.
  void OnPause() { taken_ = taken_ >= kBulkAfter ? kBulkAfter / 2 : 0; }
  // Capacity of the block for the next read.
  uint32_t Next(const Slab& slab) const {
    if (slab.crowded()) [[unlikely]] {
      if (!filled_ || taken_ < kSmallUpTo) return Slab::kSmallBlockBytes;
      if (taken_ < kBulkAfter) return kHalf;
      return taken_ < kBulkAfterWhenCrowded ? Slab::kBlockBytes : Slab::kBulkBlockBytes;
    }
    if (!filled_ || taken_ < kBulkAfter / 2) return Slab::kBlockBytes;
    return taken_ < kBulkAfter ? kMiddle : Slab::kBulkBlockBytes;
  }

 private:
  static constexpr uint64_t kSmallUpTo = 16 * 1024, kBulkAfter = 256 * 1024;
  static constexpr uint64_t kBulkAfterWhenCrowded = 4 * 1024 * 1024;
  static constexpr uint32_t kHalf = 8192 - sizeof(Block), kMiddle = 32768 - sizeof(Block);
  uint64_t taken_ = 0;
  bool filled_ = false;  // by the last read
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
