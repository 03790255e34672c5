#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weft::decide {

// A weighted round-robin order over items (endpoints, clusters), worked out once off the request path: in one round each
// item comes as often as its weight says, spread as evenly as possible. Workers share the table and own a cursor.
// Health and priority are inputs of Build: a change makes a new table (design.md section 3), since skipping an entry
// here would give all its share to whoever comes next.
// Owner: shared by all workers. Thread: immutable after Build, any.
class PickTable {
 public:
  // A worker's place in the order. Start each at another place, so that workers don't all begin with the same item.
  struct Cursor {
    uint32_t next = 0;
  };
  static constexpr uint32_t kNone = UINT32_MAX;
  // Round lengths above this are scaled down: a share is then off by less than 1 / kMaxRound, and an item that has a
  // weight keeps at least one place.
  static constexpr uint32_t kMaxRound = 4096;

  PickTable() = default;  // nothing to pick

  // Item i has weights[i]; 0 takes it out.
  static PickTable Build(const std::vector<uint32_t>& weights);

  // The next item, kNone when there is none.
  uint32_t Pick(Cursor* cursor) const {
    if (order_.empty()) return kNone;
    if (cursor->next >= order_.size()) cursor->next = 0;
    return order_[cursor->next++];
  }

  // The next item for which `wanted(item)` holds: for a retry that avoids hosts that were tried. Looks at each place of
  // the round at most once, so kNone means that no item is wanted.
  template <typename Wanted>
  uint32_t PickWhere(Cursor* cursor, Wanted&& wanted) const {
    for (size_t i = 0; i < order_.size(); ++i) {
      uint32_t item = Pick(cursor);
      if (wanted(item)) return item;
    }
    return kNone;
  }

  size_t round() const { return order_.size(); }

 private:
  std::vector<uint32_t> order_;
};

}  // namespace weft::decide
