#pragma once

// Incremental computation. Three kinds of tables, each a map from keys to cells:
//
//   Input<K, V>           what is given: the writer sets and erases values.
//   Index<I, K, V>        keys of an input by something their values say ("services by port"), kept up by the input.
//   Derivation<K, V>      what follows: a pure function of the key and of what it reads through its Reader.
//
// Each read is recorded as an edge. A change marks, along the edges, what may be out of date; nothing is computed until
// somebody asks. Then a marked cell first brings the cells that it read up to date, in the order in which it read them,
// and computes itself anew only when one of them really has a new value; when its own new value equals the old one, that
// is where the change ends (early cut-off).
//
// Rules for the functions: no input but the key and the reader; no effect but the result. Keys need absl hashing, ==
// and <; values need ==. A shared_ptr to const is compared by what it points to. References that a Reader returns are
// good until the function returns. A cycle is an error in the program and aborts with the names of the tables in it.
//
// Threads: none of this locks. One writer at a time, and Get and Observed count as writing, since they compute. What
// other threads read are values that were copied out of it (shared_ptr to const).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/node_hash_map.h"
#include "controlplane/graph/cell.h"

namespace weft::ctl {

class Graph;
class Reader;

// Revision, propagation and order of evaluation; the tables hold the cells. The tables of a graph are destroyed before
// it. Owner: whoever has the tables. Thread: see above.
class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Grows with each change of an input.
  uint64_t revision() const { return revision_; }
  // Computations of all derivations so far.
  uint64_t computed() const { return computed_; }
  // Cells that exist now, of all tables.
  size_t cells() const { return cells_; }

 private:
  template <typename K, typename V>
  friend class Input;
  template <typename I, typename K, typename V>
  friend class Index;
  template <typename K, typename V>
  friend class Derivation;
  friend class Reader;
  using Cell = graph_internal::Cell;

  void Changed(Cell& cell);
  void Update(Cell& cell);
  void DropEdges(Cell& cell);
  void ReleaseUnused();
  [[noreturn]] void AbortOnCycle(const Cell& cell) const;

  uint64_t revision_ = 1;  // 0 is before everything
  uint64_t computed_ = 0;
  size_t cells_ = 0;
  int depth_ = 0;
  std::vector<Cell*> evaluating_;
  // Cells that lost their last reader. They are looked at when no evaluation is under way, as one may read them again.
  absl::flat_hash_set<Cell*> unused_;
};

template <typename K, typename V>
class Input;
template <typename I, typename K, typename V>
class Index;
template <typename K, typename V>
class Derivation;

// Through which a derivation reads; what it reads is what it depends on.
// Owner: Graph, for one computation. Thread: the writer.
class Reader {
 public:
  // The value, or null when there is none; that there is none is a dependency, too.
  template <typename K, typename V>
  const V* Get(const Input<K, V>& input, const K& key) {
    auto& cell = input.CellOf(key);
    Record(cell);
    return cell.present ? &cell.value : nullptr;
  }
  // Keys of the input whose values say `by`, in order. It changes as keys come and go, not as their values change.
  template <typename I, typename K, typename V>
  const std::set<K>& Find(const Index<I, K, V>& index, const I& by) {
    auto& cell = index.CellOf(by);
    Record(cell);
    return cell.keys;
  }
  template <typename K, typename V>
  const V& Get(const Derivation<K, V>& derivation, const K& key) {
    auto& cell = derivation.CellOf(key);
    graph_.Update(cell);
    Record(cell);
    return cell.value;
  }

 private:
  friend class Graph;
  Reader(Graph& graph, graph_internal::Cell& cell) : graph_(graph), cell_(cell) {}
  void Record(graph_internal::Cell& read);

  Graph& graph_;
  graph_internal::Cell& cell_;
};

// Owner: whoever has the graph. Thread: the writer. Destroyed when: before the graph.
template <typename K, typename V>
class Input {
 public:
  Input(Graph& graph, std::string name) : graph_(graph), name_(std::move(name)) {}
  ~Input() { graph_.cells_ -= cells_.size(); }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  // False: it had an equal value.
  bool Set(const K& key, V value) {
    InputCell& cell = CellOf(key);
    if (cell.present && graph_internal::SameValue(cell.value, value)) return false;
    for (const auto& follow : followers_) follow(key, cell.present ? &cell.value : nullptr, &value);
    cell.present = true;
    cell.value = std::move(value);
    graph_.Changed(cell);
    return true;
  }
  // False: there was none.
  bool Erase(const K& key) {
    auto it = cells_.find(key);
    if (it == cells_.end() || !it->second.present) return false;
    InputCell& cell = it->second;
    for (const auto& follow : followers_) follow(key, &cell.value, nullptr);
    cell.present = false;
    cell.value = V();
    graph_.Changed(cell);
    if (cell.read_by.empty()) cell.Release();
    return true;
  }
  // Outside of derivations.
  const V* Peek(const K& key) const {
    auto it = cells_.find(key);
    return it == cells_.end() || !it->second.present ? nullptr : &it->second.value;
  }

 private:
  friend class Reader;
  template <typename I2, typename K2, typename V2>
  friend class Index;

  struct InputCell : graph_internal::Cell {
    bool Compute(Reader&) override { return false; }
    void Release() override {
      if (present) return;
      --owner->graph_.cells_;
      owner->cells_.erase(owner->cells_.find(*key));
    }
    std::string_view table() const override { return owner->name_; }

    const Input* owner = nullptr;
    const K* key = nullptr;
    bool present = false;
    V value{};
  };

  InputCell& CellOf(const K& key) const {
    auto [it, added] = cells_.try_emplace(key);
    if (added) {
      it->second.owner = this;
      it->second.key = &it->first;
      ++graph_.cells_;
    }
    return it->second;
  }

  Graph& graph_;
  const std::string name_;
  mutable absl::node_hash_map<K, InputCell> cells_;
  std::vector<std::function<void(const K&, const V* old_value, const V* new_value)>> followers_;
};

// Owner: whoever has the graph. Thread: the writer. Made before the input has values; destroyed when the input is.
template <typename I, typename K, typename V>
class Index {
 public:
  // By what a value is to be found; a value may be found by several things, or none. Pure.
  using Extract = std::function<std::vector<I>(const K&, const V&)>;

  Index(Graph& graph, std::string name, Input<K, V>& input, Extract extract)
      : graph_(graph), name_(std::move(name)), extract_(std::move(extract)) {
    input.followers_.push_back([this](const K& key, const V* old_value, const V* new_value) {
      std::set<I> before = By(key, old_value), after = By(key, new_value);
      for (const I& by : before) {
        if (!after.contains(by)) Change(by, [&](std::set<K>& keys) { keys.erase(key); });
      }
      for (const I& by : after) {
        if (!before.contains(by)) Change(by, [&](std::set<K>& keys) { keys.insert(key); });
      }
    });
  }
  ~Index() { graph_.cells_ -= cells_.size(); }
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  // Outside of derivations.
  const std::set<K>& Peek(const I& by) const {
    static const std::set<K>& none = *new std::set<K>();
    auto it = cells_.find(by);
    return it == cells_.end() ? none : it->second.keys;
  }

 private:
  friend class Reader;

  struct IndexCell : graph_internal::Cell {
    bool Compute(Reader&) override { return false; }
    void Release() override {
      if (!keys.empty()) return;
      --owner->graph_.cells_;
      owner->cells_.erase(owner->cells_.find(*by));
    }
    std::string_view table() const override { return owner->name_; }

    const Index* owner = nullptr;
    const I* by = nullptr;
    std::set<K> keys;
  };

  std::set<I> By(const K& key, const V* value) const {
    if (value == nullptr) return {};
    std::vector<I> found = extract_(key, *value);
    return std::set<I>(found.begin(), found.end());
  }
  template <typename F>
  void Change(const I& by, F change) {
    IndexCell& cell = CellOf(by);
    change(cell.keys);
    graph_.Changed(cell);
    if (cell.read_by.empty()) cell.Release();
  }
  IndexCell& CellOf(const I& by) const {
    auto [it, added] = cells_.try_emplace(by);
    if (added) {
      it->second.owner = this;
      it->second.by = &it->first;
      ++graph_.cells_;
    }
    return it->second;
  }

  Graph& graph_;
  const std::string name_;
  const Extract extract_;
  mutable absl::node_hash_map<I, IndexCell> cells_;
};

// Owner: whoever has the graph. Thread: the writer. Destroyed when: before the graph.
template <typename K, typename V>
class Derivation {
 public:
  using Function = std::function<V(const K&, Reader&)>;

  Derivation(Graph& graph, std::string name, Function function)
      : graph_(graph), name_(std::move(name)), function_(std::move(function)) {}
  ~Derivation() { graph_.cells_ -= cells_.size(); }
  Derivation(const Derivation&) = delete;
  Derivation& operator=(const Derivation&) = delete;

  // Outside of derivations: the value now. It is kept only while something observes or reads it.
  V Get(const K& key) {
    DerivedCell& cell = CellOf(key);
    graph_.Update(cell);
    V value = cell.value;
    if (cell.read_by.empty()) graph_.unused_.insert(&cell);
    graph_.ReleaseUnused();
    return value;
  }

  // Keeps the cell, and reports it in TakeChanged whenever its value differs. Returns the value now.
  V Observe(const K& key) {
    DerivedCell& cell = CellOf(key);
    cell.observed = true;
    graph_.Update(cell);
    graph_.ReleaseUnused();
    return cell.value;
  }
  void Unobserve(const K& key) {
    auto it = cells_.find(key);
    if (it == cells_.end()) return;
    it->second.observed = false;
    stale_.erase(&it->second);
    if (it->second.read_by.empty()) graph_.unused_.insert(&it->second);
    graph_.ReleaseUnused();
  }

  // Brings everything observed up to date and returns what differs from the last time, with the new value. Costs what
  // changed, not what is observed.
  std::vector<std::pair<K, V>> TakeChanged() {
    std::vector<std::pair<K, V>> changed;
    for (auto [cell, changed_before] : std::exchange(stale_, {})) {
      graph_.Update(*cell);
      if (cell->changed_at != changed_before) changed.emplace_back(*cell->key, cell->value);
    }
    graph_.ReleaseUnused();
    return changed;
  }

  // How often the function has been called.
  uint64_t computed() const { return computed_; }
  size_t size() const { return cells_.size(); }

 private:
  friend class Reader;

  struct DerivedCell : graph_internal::Cell {
    bool Compute(Reader& reader) override {
      ++owner->computed_;
      V fresh = owner->function_(*key, reader);
      const bool differs = !present || !graph_internal::SameValue(fresh, value);
      // An equal value is dropped, so that those who hold the old one go on sharing it.
      if (differs) value = std::move(fresh);
      present = true;
      return differs;
    }
    void Release() override {
      owner->stale_.erase(this);
      --owner->graph_.cells_;
      owner->cells_.erase(owner->cells_.find(*key));
    }
    void OnStale() override { owner->stale_.try_emplace(this, this->changed_at); }
    std::string_view table() const override { return owner->name_; }

    const Derivation* owner = nullptr;
    const K* key = nullptr;
    bool present = false;
    V value{};
  };

  DerivedCell& CellOf(const K& key) const {
    auto [it, added] = cells_.try_emplace(key);
    if (added) {
      it->second.owner = this;
      it->second.key = &it->first;
      it->second.stale = true;
      ++graph_.cells_;
    }
    return it->second;
  }

  Graph& graph_;
  const std::string name_;
  const Function function_;
  mutable absl::node_hash_map<K, DerivedCell> cells_;
  // Observed cells that may differ from the last TakeChanged, and when they had changed until then.
  mutable absl::flat_hash_map<DerivedCell*, uint64_t> stale_;
  mutable uint64_t computed_ = 0;
};

}  // namespace weft::ctl
