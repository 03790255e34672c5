#include "bench/micro/counting_allocator.h"

#include <errno.h>

#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define WEFT_COUNTING_ALLOCATOR 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define WEFT_COUNTING_ALLOCATOR 0
#endif
#endif
#ifndef WEFT_COUNTING_ALLOCATOR
#define WEFT_COUNTING_ALLOCATOR 1
#endif

// Our ThreadSanitizer builds hide __SANITIZE_THREAD__ (see .bazelrc), so that it is found when the
// program runs: the calls then go on to its own allocator, and the replacements carry no
// instrumentation, since they run before it is set up.
#define WEFT_UNINSTRUMENTED __attribute__((no_sanitize_thread))

namespace weft::bench {
namespace {

// Plain data in static thread-local storage: touching it allocates nothing, at any time of a
// thread's life.
thread_local AllocationCounts counts;

}  // namespace

bool AllocationCountingAvailable() { return WEFT_COUNTING_ALLOCATOR != 0; }

AllocationCounts ThreadAllocations() { return counts; }

#if WEFT_COUNTING_ALLOCATOR

namespace {

WEFT_UNINSTRUMENTED inline void* Counted(void* pointer, size_t size) {
  if (pointer != nullptr) {
    ++counts.allocations;
    counts.bytes += size;
  }
  return pointer;
}

WEFT_UNINSTRUMENTED inline void CountFree() { ++counts.frees; }

}  // namespace

#endif

}  // namespace weft::bench

#if WEFT_COUNTING_ALLOCATOR

extern "C" {
// glibc's own entry points, under the names that it keeps for replacements of malloc.
void* __libc_malloc(size_t size) noexcept;
void* __libc_calloc(size_t count, size_t size) noexcept;
void* __libc_realloc(void* pointer, size_t size) noexcept;
void* __libc_memalign(size_t alignment, size_t size) noexcept;
void __libc_free(void* pointer) noexcept;
// ThreadSanitizer's; null in other programs.
__attribute__((weak)) void* __interceptor_malloc(size_t size) noexcept;
__attribute__((weak)) void* __interceptor_calloc(size_t count, size_t size) noexcept;
__attribute__((weak)) void* __interceptor_realloc(void* pointer, size_t size) noexcept;
__attribute__((weak)) void* __interceptor_memalign(size_t alignment, size_t size) noexcept;
__attribute__((weak)) void __interceptor_free(void* pointer) noexcept;

WEFT_UNINSTRUMENTED void* malloc(size_t size) noexcept {
  return weft::bench::Counted(
      __interceptor_malloc != nullptr ? __interceptor_malloc(size) : __libc_malloc(size), size);
}

WEFT_UNINSTRUMENTED void* calloc(size_t count, size_t size) noexcept {
  return weft::bench::Counted(__interceptor_calloc != nullptr ? __interceptor_calloc(count, size)
                                                              : __libc_calloc(count, size),
                              count * size);
}

WEFT_UNINSTRUMENTED void* realloc(void* pointer, size_t size) noexcept {
  void* moved = __interceptor_realloc != nullptr ? __interceptor_realloc(pointer, size)
                                                 : __libc_realloc(pointer, size);
  if (pointer != nullptr && (moved != nullptr || size == 0)) weft::bench::CountFree();
  return weft::bench::Counted(moved, size);
}

WEFT_UNINSTRUMENTED void free(void* pointer) noexcept {
  if (pointer != nullptr) weft::bench::CountFree();
  if (__interceptor_free != nullptr) return __interceptor_free(pointer);
  __libc_free(pointer);
}

WEFT_UNINSTRUMENTED void* memalign(size_t alignment, size_t size) noexcept {
  return weft::bench::Counted(__interceptor_memalign != nullptr
                                  ? __interceptor_memalign(alignment, size)
                                  : __libc_memalign(alignment, size),
                              size);
}

WEFT_UNINSTRUMENTED void* aligned_alloc(size_t alignment, size_t size) noexcept {
  return memalign(alignment, size);
}

WEFT_UNINSTRUMENTED int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  if (alignment < sizeof(void*) || (alignment & (alignment - 1)) != 0) return EINVAL;
  void* pointer = memalign(alignment, size);
  if (pointer == nullptr) return ENOMEM;
  *out = pointer;
  return 0;
}
}  // extern "C"

// operator new must come through our malloc also when libstdc++'s own version is bound to glibc's:
// so it is ours as well.
namespace {

WEFT_UNINSTRUMENTED void* NewOrThrow(size_t size, size_t alignment) {
  if (size == 0) size = 1;
  while (true) {
    void* pointer =
        alignment <= alignof(std::max_align_t) ? malloc(size) : aligned_alloc(alignment, size);
    if (pointer != nullptr) return pointer;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

void* NewOrNull(size_t size, size_t alignment) noexcept {
  try {
    return NewOrThrow(size, alignment);
  } catch (...) {
    return nullptr;
  }
}

}  // namespace

void* operator new(size_t size) { return NewOrThrow(size, 0); }
void* operator new[](size_t size) { return NewOrThrow(size, 0); }
void* operator new(size_t size, std::align_val_t a) {
  return NewOrThrow(size, static_cast<size_t>(a));
}
void* operator new[](size_t size, std::align_val_t a) {
  return NewOrThrow(size, static_cast<size_t>(a));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return NewOrNull(size, 0); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return NewOrNull(size, 0); }
void* operator new(size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
  return NewOrNull(size, static_cast<size_t>(a));
}
void* operator new[](size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
  return NewOrNull(size, static_cast<size_t>(a));
}
void operator delete(void* p) noexcept { free(p); }
void operator delete[](void* p) noexcept { free(p); }
void operator delete(void* p, size_t) noexcept { free(p); }
void operator delete[](void* p, size_t) noexcept { free(p); }
void operator delete(void* p, std::align_val_t) noexcept { free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { free(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { free(p); }

#endif
