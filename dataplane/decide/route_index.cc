#include "dataplane/decide/route_index.h"

#include <algorithm>

#include "dataplane/base/strings.h"

namespace weft::decide {

void RouteIndex::Build(std::vector<Key> keys, bool fold_case) {
  fold_case_ = fold_case;
  if (keys.empty()) return;
  std::stable_sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) { return a.text < b.text; });
  nodes_.emplace_back();
  first_bytes_.push_back(0);
  // Not recursive: a chain of nested prefixes is as deep as the configuration says.
  std::vector<Pending> tasks = {{0, 0, keys.size(), 0}};
  while (!tasks.empty()) {
    Pending task = tasks.back();
    tasks.pop_back();
    Fill(keys, task, &tasks);
  }
  nodes_.shrink_to_fit();
  first_bytes_.shrink_to_fit();
  routes_.shrink_to_fit();
  labels_.shrink_to_fit();
}

void RouteIndex::Fill(const std::vector<Key>& sorted, const Pending& task, std::vector<Pending>* tasks) {
  const std::string& first = sorted[task.begin].text;
  const std::string& last = sorted[task.end - 1].text;
  // In a sorted range, what the first and the last share, all share. The root keeps an empty label.
  size_t depth = task.depth;
  if (task.node != 0) {
    while (depth < first.size() && depth < last.size() && first[depth] == last[depth]) ++depth;
  }
  Node node;
  node.label_begin = static_cast<uint32_t>(labels_.size());
  node.label_size = static_cast<uint32_t>(depth - task.depth);
  labels_.append(first, task.depth, depth - task.depth);
  if (task.node != 0) first_bytes_[task.node] = static_cast<unsigned char>(first[task.depth]);

  size_t rest = task.begin;
  while (rest < task.end && sorted[rest].text.size() == depth) ++rest;
  auto add = [&](bool exact, uint32_t* begin, uint32_t* count) {
    *begin = static_cast<uint32_t>(routes_.size());
    for (size_t i = task.begin; i < rest; ++i) {
      if (sorted[i].exact == exact) routes_.push_back(sorted[i].route);
    }
    *count = static_cast<uint32_t>(routes_.size()) - *begin;
  };
  add(false, &node.prefix_begin, &node.prefix_count);
  add(true, &node.exact_begin, &node.exact_count);

  node.child_begin = static_cast<uint32_t>(nodes_.size());
  for (size_t i = rest; i < task.end;) {
    size_t j = i;
    while (j < task.end && sorted[j].text[depth] == sorted[i].text[depth]) ++j;
    tasks->push_back({static_cast<uint32_t>(nodes_.size()), i, j, depth});
    nodes_.emplace_back();
    first_bytes_.push_back(static_cast<unsigned char>(sorted[i].text[depth]));
    ++node.child_count;
    i = j;
  }
  // Sorting compared bytes as the library does for std::string, which is unsigned: siblings ascend.
  nodes_[task.node] = node;
}

const RouteIndex::Node* RouteIndex::Child(const Node& node, unsigned char byte) const {
  const unsigned char* begin = first_bytes_.data() + node.child_begin;
  const unsigned char* end = begin + node.child_count;
  const unsigned char* it = std::lower_bound(begin, end, byte);
  return it == end || *it != byte ? nullptr : &nodes_[node.child_begin + static_cast<size_t>(it - begin)];
}

bool RouteIndex::Find(std::string_view path, Cursor* cursors, size_t* count) const {
  if (nodes_.empty()) return true;
  auto add = [&](uint32_t begin, uint32_t n) {
    if (n == 0) return true;
    if (*count == kMaxCursors) return false;
    cursors[(*count)++] = {routes_.data() + begin, routes_.data() + begin + n};
    return true;
  };
  const Node* node = &nodes_[0];
  size_t at = 0;
  while (true) {
    if (path.size() - at < node->label_size) return true;
    const char* label = labels_.data() + node->label_begin;
    for (uint32_t i = 0; i < node->label_size; ++i) {
      char c = fold_case_ ? AsciiLower(path[at + i]) : path[at + i];
      if (c != label[i]) return true;
    }
    at += node->label_size;
    if (!add(node->prefix_begin, node->prefix_count)) return false;
    if (at == path.size()) return add(node->exact_begin, node->exact_count);
    char next = fold_case_ ? AsciiLower(path[at]) : path[at];
    node = Child(*node, static_cast<unsigned char>(next));
    if (node == nullptr) return true;
  }
}

}  // namespace weft::decide
