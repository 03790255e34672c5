#pragma once

#include <cassert>
#include <cstddef>

namespace weft {

// A link that an object embeds to be in one IntrusiveList. Destroying a linked object unlinks it, so a list never
// holds a dangling element. Thread: that of the list.
template <typename Tag = void>
class ListLink {
 public:
  ListLink() = default;
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;
  ~ListLink() { Unlink(); }

  bool linked() const { return next_ != nullptr; }
  void Unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }

 private:
  template <typename T, typename U>
  friend class IntrusiveList;
  ListLink* prev_ = nullptr;
  ListLink* next_ = nullptr;
};

// Doubly linked list of T, which derives from ListLink<Tag>. Never owns its elements.
template <typename T, typename Tag = void>
class IntrusiveList {
 public:
  using Link = ListLink<Tag>;
  IntrusiveList() { head_.prev_ = head_.next_ = &head_; }
  ~IntrusiveList() {
    while (!empty()) head_.next_->Unlink();
    head_.prev_ = head_.next_ = nullptr;
  }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  T* back() { return empty() ? nullptr : static_cast<T*>(head_.prev_); }
  void PushBack(T* t) { Insert(t, head_.prev_, &head_); }
  void PushFront(T* t) { Insert(t, &head_, head_.next_); }
  T* PopFront() {
    T* t = front();
    if (t != nullptr) static_cast<Link*>(t)->Unlink();
    return t;
  }
  // Calls f on each element; f may unlink or destroy the element that it is given, no other.
  template <typename F>
  void ForEach(F f) {
    for (Link* l = head_.next_; l != &head_;) {
      Link* next = l->next_;
      f(*static_cast<T*>(l));
      l = next;
    }
  }
  // Takes all elements of `other`, in order.
  void Splice(IntrusiveList& other) {
    if (other.empty()) return;
    Link* first = other.head_.next_;
    Link* last = other.head_.prev_;
    other.head_.prev_ = other.head_.next_ = &other.head_;
    first->prev_ = head_.prev_;
    head_.prev_->next_ = first;
    last->next_ = &head_;
    head_.prev_ = last;
  }

 private:
  void Insert(T* t, Link* prev, Link* next) {
    Link* l = t;
    assert(!l->linked());
    l->prev_ = prev;
    l->next_ = next;
    prev->next_ = l;
    next->prev_ = l;
  }
  Link head_;
};

}  // namespace weft
