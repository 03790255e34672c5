#include "dataplane/buffer/slice.h"

#include <cassert>
#include <new>

namespace weft::buffer {

Slab::~Slab() {
  assert(in_use_ == 0);
  Free(free_);
  Free(free_bulk_);
}

void Slab::Free(FreeList& list) {
  while (list.first != nullptr) {
    Block* next = list.first->next_;
    ::operator delete(list.first);
    list.first = next;
  }
}

Block* Slab::Make(uint32_t capacity, Slab* slab) {
  Block* b = new (::operator new(sizeof(Block) + capacity)) Block;
  b->capacity_ = capacity;
  b->slab_ = slab;
  return b;
}

BlockRef Slab::Take(FreeList& list, uint32_t capacity) {
  Block* b = list.first;
  if (b != nullptr) {
    list.first = b->next_;
    --list.count;
  } else {
    b = Make(capacity, this);
  }
  ++in_use_;
  in_use_bytes_ += capacity;
  return BlockRef(b);
}

BlockRef Slab::Get() { return Take(free_, kBlockBytes); }

BlockRef Slab::GetBulk() { return Take(free_bulk_, kBulkBlockBytes); }

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
  FreeList& list = b->capacity_ == kBulkBlockBytes ? free_bulk_ : free_;
  if ((b->capacity_ != kBlockBytes && b->capacity_ != kBulkBlockBytes) || list.count >= list.max) {
    ::operator delete(b);
    return;
  }
  b->next_ = list.first;
  list.first = b;
  ++list.count;
}

}  // namespace weft::buffer
