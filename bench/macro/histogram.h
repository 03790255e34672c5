#pragma once

// Latency histogram: buckets of equal width within each power of two, so that a quantile is exact
// to 1/64 of its value.

#include <array>
#include <bit>
#include <cstdint>

namespace weft::bench {

class Histogram {
 public:
  void Add(uint64_t ns) {
    ++counts_[IndexOf(ns)];
    ++total_;
    if (ns > max_) max_ = ns;
  }

  uint64_t total() const { return total_; }
  uint64_t max() const { return max_; }

  // The upper edge of the bucket that holds the quantile, at most the largest value seen. 0 when
  // empty.
  uint64_t Quantile(double q) const {
    if (total_ == 0) return 0;
    auto rank = static_cast<uint64_t>(q * static_cast<double>(total_));
    if (rank >= total_) rank = total_ - 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > rank) return UpperEdge(i) < max_ ? UpperEdge(i) : max_;
    }
    return max_;
  }

 private:
  static constexpr int kSubBits = 6;
  static constexpr size_t kSub = 1u << kSubBits;
  static constexpr size_t kBuckets = (64 - kSubBits) * kSub + kSub;

  static size_t IndexOf(uint64_t v) {
    if (v < kSub) return static_cast<size_t>(v);
    const int shift = std::bit_width(v) - kSubBits - 1;
    return (static_cast<size_t>(shift) + 1) * kSub + static_cast<size_t>((v >> shift) - kSub);
  }

  static uint64_t UpperEdge(size_t index) {
    if (index < kSub) return index;
    const size_t shift = index / kSub - 1;
    return ((index % kSub + kSub + 1) << shift) - 1;
  }

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t total_ = 0;
  uint64_t max_ = 0;
};

}  // namespace weft::bench
