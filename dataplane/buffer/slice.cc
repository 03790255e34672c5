#include "dataplane/buffer/slice.h"

#include <cassert>
#include <new>

namespace weft::buffer {

Slab::Slab(size_t max_free) {
  for (int c = 0; c <= ClassOf(kBulkBlockBytes); ++c) {
    // Ordinary ones are what everything is read into.
    free_[c].max = c == ClassOf(kBlockBytes)  ? max_free
                   : c < ClassOf(kBlockBytes) ? 128 * 1024 / (CapacityOf(c) + sizeof(Block))
                                              : 8;
  }
}

Slab::~Slab() {
  assert(in_use_ == 0);
  for (FreeList& list : free_) {
    while (list.first != nullptr) {
      Block* next = list.first->next_;
      ::operator delete(list.first);
      list.first = next;
    }
  }
}

Block* Slab::Make(uint32_t capacity) {
  Block* b = new (::operator new(sizeof(Block) + capacity)) Block;
  b->capacity_ = capacity;
  b->slab_ = this;
  return b;
}

BlockRef Slab::Take(int size_class) {
  FreeList& list = free_[size_class];
  Block* b = list.first;
  if (b != nullptr) {
    list.first = b->next_;
    --list.count;
  } else {
    b = Make(CapacityOf(size_class));
  }
  ++in_use_;
  in_use_bytes_ += b->capacity_;
  return BlockRef(b);
}

BlockRef Slab::GetSized(uint32_t bytes) {
  if (bytes <= kBulkBlockBytes) return Take(ClassOf(bytes));
  Block* b = Make(bytes);
  ++in_use_;
  in_use_bytes_ += b->capacity();
  return BlockRef(b);
}

void Slab::Return(Block* b) {
  --in_use_;
  in_use_bytes_ -= b->capacity_;
  if (b->capacity_ <= kBulkBlockBytes) {
    FreeList& list = free_[ClassOf(b->capacity_)];
    if (list.count < list.max) {
      b->next_ = list.first;
      list.first = b;
      ++list.count;
      return;
    }
  }
  ::operator delete(b);
}

}  // namespace weft::buffer
