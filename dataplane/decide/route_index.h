#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::decide {

// Finds the routes whose path may match, in the order of the configuration, without looking at the others: a radix tree
// over prefixes and exact paths. 10,000 routes cost a walk along one path of the tree.
// Owner: a VirtualHost. Thread: immutable after Build, any.
class RouteIndex {
 public:
  struct Key {
    std::string text;
    uint32_t route;
    bool exact;  // only for paths of exactly this text
  };
  // Routes of one key or prefix chain, each list ascending; what Find hands out.
  struct Cursor {
    const uint32_t* at;
    const uint32_t* end;
  };
  static constexpr size_t kMaxCursors = 64;

  // `keys` in ascending order of route. With `fold_case`, keys are in lower case and paths are folded while walking.
  void Build(std::vector<Key> keys, bool fold_case);
  bool empty() const { return nodes_.empty(); }

  // Adds the lists of routes that may match to cursors[*count...]. False when there are more than kMaxCursors (a chain
  // of more than 64 nested prefixes): the caller then looks at all routes.
  bool Find(std::string_view path, Cursor* cursors, size_t* count) const;

 private:
  struct Node {
    uint32_t label_begin = 0, label_size = 0;      // in labels_
    uint32_t child_begin = 0, child_count = 0;     // in nodes_, ascending by the label's first byte
    uint32_t prefix_begin = 0, prefix_count = 0;   // in routes_
    uint32_t exact_begin = 0, exact_count = 0;
  };
  struct Pending {
    uint32_t node;
    size_t begin, end, depth;  // keys that the node stands for; they share `depth` bytes
  };

  void Fill(const std::vector<Key>& sorted, const Pending& task, std::vector<Pending>* tasks);
  const Node* Child(const Node& node, unsigned char byte) const;

  bool fold_case_ = false;
  std::vector<Node> nodes_;
  std::vector<unsigned char> first_bytes_;  // of each node's label: one cache line serves a search among siblings
  std::vector<uint32_t> routes_;
  std::string labels_;
};

}  // namespace weft::decide
