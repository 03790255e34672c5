#include "controlplane/graph/graph.h"

#include <cstdio>
#include <cstdlib>

namespace weft::ctl {

void Reader::Record(graph_internal::Cell& read) {
  // The set of edges is also what tells whether this is the first read.
  if (read.read_by.insert(&cell_).second) cell_.reads.push_back(&read);
}

// The value of `cell` was set. Everything that follows from it may be out of date; a cell that is marked already has
// marked what follows from it, so a walk ends there.
void Graph::Changed(Cell& cell) {
  cell.changed_at = ++revision_;
  std::vector<Cell*> todo(cell.read_by.begin(), cell.read_by.end());
  while (!todo.empty()) {
    Cell* next = todo.back();
    todo.pop_back();
    if (next->stale) continue;
    next->stale = true;
    if (next->observed) next->OnStale();
    todo.insert(todo.end(), next->read_by.begin(), next->read_by.end());
  }
}

void Graph::Update(Cell& cell) {
  if (!cell.stale) return;
  if (cell.computing) AbortOnCycle(cell);
  cell.computing = true;
  evaluating_.push_back(&cell);
  ++depth_;

  bool compute = cell.verified_at == 0;
  // As far as every cell that was read so far is unchanged, the function would read the same next one. After the first
  // that has changed it may not: so no later one is brought up to date before the function asks for it.
  for (size_t i = 0; !compute && i < cell.reads.size(); ++i) {
    Update(*cell.reads[i]);
    compute = cell.reads[i]->changed_at > cell.verified_at;
  }
  if (compute) {
    DropEdges(cell);
    Reader reader(*this, cell);
    ++computed_;
    if (cell.Compute(reader)) cell.changed_at = revision_;
  }
  cell.verified_at = revision_;
  cell.stale = false;

  --depth_;
  evaluating_.pop_back();
  cell.computing = false;
}

void Graph::DropEdges(Cell& cell) {
  for (Cell* read : cell.reads) {
    read->read_by.erase(&cell);
    if (read->read_by.empty() && !read->observed) unused_.insert(read);
  }
  cell.reads.clear();
}

void Graph::ReleaseUnused() {
  if (depth_ > 0) return;
  while (!unused_.empty()) {
    Cell* cell = *unused_.begin();
    unused_.erase(unused_.begin());
    if (!cell->read_by.empty() || cell->observed) continue;
    DropEdges(*cell);
    cell->Release();
  }
}

void Graph::AbortOnCycle(const Cell& cell) const {
  std::fprintf(stderr, "graph: a derivation reads its own result:");
  for (const Cell* step : evaluating_) {
    std::fprintf(stderr, " %.*s ->", static_cast<int>(step->table().size()), step->table().data());
  }
  std::fprintf(stderr, " %.*s\n", static_cast<int>(cell.table().size()), cell.table().data());
  std::abort();
}

}  // namespace weft::ctl
