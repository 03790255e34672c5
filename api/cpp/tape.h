// What ParseDocuments makes of a document: its nodes in order, each with its place. Private to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::api::internal {

enum class NodeKind : uint8_t { kScalar, kMapping, kSequence };

// 24 bytes. A mapping is followed by key, value, key, value, ...; a sequence by its items; each item may be a subtree.
struct Node {
  uint32_t line = 0;  // 1-based
  uint32_t column = 0;
  uint32_t begin = 0;  // text of a scalar, in Tape::pool
  uint32_t size = 0;
  uint32_t end = 0;  // index of the node after this subtree
  NodeKind kind = NodeKind::kScalar;
  bool plain = false;  // a scalar without quotes: it may mean a number, a boolean or null
};
static_assert(sizeof(Node) == 24);

struct Tape {
  std::string file;
  std::string pool;
  std::vector<Node> nodes;  // nodes[0] is the root

  std::string_view Text(const Node& node) const { return std::string_view(pool).substr(node.begin, node.size); }
  std::string_view Text(uint32_t index) const { return Text(nodes[index]); }
};

// Splits `spec.http[0]["a.b"]` into steps; false when it is malformed.
struct PathStep {
  std::string key;
  int index = -1;  // >= 0: an item of a sequence
};
bool SplitPath(std::string_view path, std::vector<PathStep>* steps);

// Index of the value of `key` in the mapping at `node`, 0 when absent (0 is the root, never a value).
// Exact spelling first; then, unless `exact`, without regard to case and underscores.
uint32_t FindValue(const Tape& tape, uint32_t node, std::string_view key, bool exact, uint32_t* key_node = nullptr);

}  // namespace weft::api::internal
