#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

namespace weft {

// Bump allocator for what lives as long as one request: header values that filters make, head copies.
// The first kInlineBytes come from the object itself, so that an ordinary request allocates nothing.
// Owner: the Exchange or the connection. Thread: its worker. No destructor of what was allocated is run.
class Arena {
 public:
  static constexpr size_t kInlineBytes = 1024;
  static constexpr size_t kBlockBytes = 4096;

  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { Reset(); }

  // Never null (out of memory ends the process).
  char* Allocate(size_t n) {
    if (n <= static_cast<size_t>(end_ - at_)) {
      char* p = at_;
      at_ += n;
      return p;
    }
    return AllocateBlock(n);
  }
  std::string_view Copy(std::string_view s) {
    char* p = Allocate(s.size());
    memcpy(p, s.data(), s.size());
    return {p, s.size()};
  }
  // Frees everything at once; views into the arena are dead after it.
  void Reset() {
    for (Block* b = blocks_; b != nullptr;) {
      Block* next = b->next;
      ::operator delete(b);
      b = next;
    }
    blocks_ = nullptr;
    at_ = inline_;
    end_ = inline_ + kInlineBytes;
    block_bytes_ = 0;
  }
  // Bytes of heap blocks held now.
  size_t heap_bytes() const { return block_bytes_; }

 private:
  struct Block {
    Block* next;
  };
  char* AllocateBlock(size_t n) {
    size_t size = sizeof(Block) + (n > kBlockBytes ? n : kBlockBytes);
    Block* b = static_cast<Block*>(::operator new(size));
    b->next = blocks_;
    blocks_ = b;
    block_bytes_ += size;
    char* p = reinterpret_cast<char*>(b + 1);
    if (n <= kBlockBytes) {  // a large one gets a block of its own; the current block stays in use
      at_ = p + n;
      end_ = p + kBlockBytes;
    }
    return p;
  }

  char inline_[kInlineBytes];
  char* at_ = inline_;
  char* end_ = inline_ + kInlineBytes;
  Block* blocks_ = nullptr;
  size_t block_bytes_ = 0;
};

}  // namespace weft
