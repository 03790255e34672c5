#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"

namespace weft::ctl {

// A map whose copies share what they have in common: a copy costs one pointer, a change copies the path to its entry
// (a trie over the hash, 32 ways). So each ConfigState has its own map, and the cost of a change does not grow with the
// mesh.
// Owner: a value. Thread: a const map may be read by any; a change concerns only the copy it is made to.
template <typename K, typename V>
class PersistentMap {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Null: not there. Valid as long as this map or a copy that still has the entry.
  const V* Find(const K& key) const {
    const uint64_t hash = absl::Hash<K>()(key);
    int shift = 0;
    const Node* node = root_.get();
    while (node != nullptr && !node->children.empty()) {
      node = node->children[(hash >> shift) % kWays].get();
      shift += kBits;
    }
    if (node == nullptr) return nullptr;
    for (const auto& entry : node->entries) {
      if (entry.first == key) return &entry.second;
    }
    return nullptr;
  }

  void Set(const K& key, V value) {
    root_ = SetIn(root_.get(), absl::Hash<K>()(key), 0, key, std::move(value), &size_);
  }

  void Erase(const K& key) {
    if (Find(key) != nullptr) root_ = EraseIn(*root_, absl::Hash<K>()(key), 0, key, &size_);
  }

  template <typename F>
  void ForEach(F f) const {
    if (root_ != nullptr) Visit(*root_, f);
  }

 private:
  static constexpr int kBits = 5;
  static constexpr size_t kWays = size_t{1} << kBits;
  static constexpr size_t kLeaf = 8;
  static constexpr int kMaxShift = 60;  // below it all hash bits are used up: leaves grow

  struct Node;
  using NodePtr = std::shared_ptr<const Node>;
  struct Node {
    std::vector<NodePtr> children;  // kWays of them, or none in a leaf
    std::vector<std::pair<K, V>> entries;
  };

  static NodePtr SetIn(const Node* old, uint64_t hash, int shift, const K& key, V value, size_t* size) {
    auto node = old == nullptr ? std::make_shared<Node>() : std::make_shared<Node>(*old);
    if (!node->children.empty()) {
      NodePtr& child = node->children[(hash >> shift) % kWays];
      child = SetIn(child.get(), hash, shift + kBits, key, std::move(value), size);
      return node;
    }
    for (auto& entry : node->entries) {
      if (entry.first == key) {
        entry.second = std::move(value);
        return node;
      }
    }
    node->entries.emplace_back(key, std::move(value));
    ++*size;
    if (node->entries.size() > kLeaf && shift < kMaxShift) return Split(*node, shift);
    return node;
  }

  static NodePtr Split(const Node& leaf, int shift) {
    auto branch = std::make_shared<Node>();
    branch->children.resize(kWays);
    size_t ignored = 0;
    for (const auto& [key, value] : leaf.entries) {
      const uint64_t hash = absl::Hash<K>()(key);
      NodePtr& child = branch->children[(hash >> shift) % kWays];
      child = SetIn(child.get(), hash, shift + kBits, key, value, &ignored);
    }
    return branch;
  }

  static NodePtr EraseIn(const Node& old, uint64_t hash, int shift, const K& key, size_t* size) {
    auto node = std::make_shared<Node>(old);
    if (!node->children.empty()) {
      NodePtr& child = node->children[(hash >> shift) % kWays];
      child = EraseIn(*child, hash, shift + kBits, key, size);
      return node;
    }
    std::erase_if(node->entries, [&](const auto& entry) { return entry.first == key; });
    --*size;
    return node->entries.empty() ? nullptr : node;
  }

  template <typename F>
  static void Visit(const Node& node, F& f) {
    for (const auto& [key, value] : node.entries) f(key, value);
    for (const NodePtr& child : node.children) {
      if (child != nullptr) Visit(*child, f);
    }
  }

  NodePtr root_;
  size_t size_ = 0;
};

}  // namespace weft::ctl
