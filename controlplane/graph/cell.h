#pragma once

// What the tables of graph.h are made of; for that file alone.

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace weft::ctl {

class Reader;

namespace graph_internal {

template <typename T>
bool SameValue(const T& a, const T& b) {
  return a == b;
}
template <typename T>
bool SameValue(const std::shared_ptr<const T>& a, const std::shared_ptr<const T>& b) {
  return a == b || (a != nullptr && b != nullptr && *a == *b);
}

// One cell. `reads` are edges to what it read, in order and without repetition; `read_by` are the same edges backwards.
struct Cell {
  virtual ~Cell() = default;
  // Computes the value anew; true when it differs from the old one. Only for derived cells.
  virtual bool Compute(Reader& reader) = 0;
  // Nobody needs the cell: forget it, unless it holds something that was given.
  virtual void Release() = 0;
  // Marked while observed.
  virtual void OnStale() {}
  virtual std::string_view table() const = 0;

  std::vector<Cell*> reads;
  absl::flat_hash_set<Cell*> read_by;
  uint64_t changed_at = 0;   // revision of the last different value
  uint64_t verified_at = 0;  // revision at which it was known to be up to date
  bool stale = false;
  bool computing = false;
  bool observed = false;    // kept though nothing reads it
};

}  // namespace graph_internal

}  // namespace weft::ctl
