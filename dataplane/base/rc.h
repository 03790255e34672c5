#pragma once

#include <cassert>
#include <cstdint>
#include <utility>

namespace weft {

// Base of objects that are shared within one thread. The count is a plain integer: an object and all its Rc belong to
// one worker. Things shared between threads are std::shared_ptr<const T>.
class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

 protected:
  RefCounted() = default;
  ~RefCounted() = default;

 private:
  template <typename T>
  friend class Rc;
  uint32_t refs_ = 0;
};

// Owning pointer to a RefCounted object; may be null.
template <typename T>
class Rc {
 public:
  Rc() = default;
  Rc(std::nullptr_t) {}  // NOLINT: null is a natural value
  explicit Rc(T* p) : p_(p) {
    if (p_ != nullptr) ++p_->refs_;
  }
  Rc(const Rc& o) : Rc(o.p_) {}
  Rc(Rc&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Rc& operator=(Rc o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Rc() {
    if (p_ != nullptr && --p_->refs_ == 0) delete p_;
  }

  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  void reset() { *this = Rc(); }

 private:
  T* p_ = nullptr;
};

template <typename T, typename... Args>
Rc<T> MakeRc(Args&&... args) {
  return Rc<T>(new T(std::forward<Args>(args)...));
}

}  // namespace weft
