#include "dataplane/buffer/slice.h"

#include <cassert>
#include <new>

namespace weft::buffer {

Slab::~Slab() {
  assert(in_use_ == 0);
  while (free_ != nullptr) {
    Block* next = free_->next_;
    ::operator delete(free_);
    free_ = next;
  }
}

Block* Slab::Make(uint32_t capacity, Slab* slab) {
  Block* b = new (::operator new(sizeof(Block) + capacity)) Block;
  b->capacity_ = capacity;
  b->slab_ = slab;
  return b;
}

BlockRef Slab::Get() {
  Block* b = free_;
  if (b != nullptr) {
    free_ = b->next_;
    --free_count_;
  } else {
    b = Make(kBlockBytes, this);
  }
  ++in_use_;
  in_use_bytes_ += b->capacity();
  return BlockRef(b);
}

BlockRef Slab::GetLarge(uint32_t bytes) {
  if (bytes <= kBlockBytes) return Get();
  Block* b = Make(bytes, this);
  ++in_use_;
  in_use_bytes_ += b->capacity();
  return BlockRef(b);
}

void Slab::Return(Block* b) {
  --in_use_;
  in_use_bytes_ -= b->capacity_;
  if (b->capacity_ != kBlockBytes || free_count_ >= max_free_) {
    ::operator delete(b);
    return;
  }
  b->next_ = free_;
  free_ = b;
  ++free_count_;
}

}  // namespace weft::buffer
