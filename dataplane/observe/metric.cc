#include "dataplane/observe/metric.h"

#include <algorithm>
#include <bit>

namespace weft::observe {
namespace {

struct Position {
  int group, sub;
};

// 0..15 are exact; above, the four bits behind the highest one choose the bucket.
Position PositionOf(uint64_t value) {
  if (value < HistogramData::kSubBuckets) return {0, static_cast<int>(value)};
  int exponent = std::bit_width(value) - 1;  // >= 4
  int group = exponent - 3;
  if (group >= HistogramData::kGroups) return {HistogramData::kGroups - 1, HistogramData::kSubBuckets - 1};
  return {group, static_cast<int>(value >> (exponent - 4) & 15)};
}

uint64_t LowerBound(int group, int sub) {
  if (group == 0) return static_cast<uint64_t>(sub);
  return static_cast<uint64_t>(HistogramData::kSubBuckets + sub) << (group - 1);
}

uint64_t Width(int group) { return group == 0 ? 1 : uint64_t{1} << (group - 1); }

}  // namespace

HistogramData::~HistogramData() {
  for (std::atomic<Group*>& g : groups_) delete g.load(std::memory_order_relaxed);
}

HistogramData::Group* HistogramData::MakeGroup(int index) {
  Group* group = new Group{};
  groups_[index].store(group, std::memory_order_release);
  return group;
}

void HistogramData::Record(uint64_t value) {
  const uint64_t twice = value > UINT64_MAX / 2 ? UINT64_MAX : value * 2;
  size_t exact = static_cast<size_t>(
      std::lower_bound(kTwiceBucketBounds.begin(), kTwiceBucketBounds.end(), twice) - kTwiceBucketBounds.begin());
  SingleWriterAdd<uint64_t>(exact_[exact], 1);
  SingleWriterAdd(sum_, value);
  if (value < min_.load(std::memory_order_relaxed)) min_.store(value, std::memory_order_relaxed);
  if (value > max_.load(std::memory_order_relaxed)) max_.store(value, std::memory_order_relaxed);
  Position at = PositionOf(value);
  Group* group = groups_[at.group].load(std::memory_order_relaxed);
  if (group == nullptr) [[unlikely]] group = MakeGroup(at.group);
  std::atomic<uint32_t>& bucket = (*group)[at.sub];
  if (bucket.load(std::memory_order_relaxed) == UINT32_MAX) [[unlikely]] HalveBuckets();
  SingleWriterAdd<uint32_t>(bucket, 1);
}

// Only the shape of the distribution lives in these buckets, counts are exact elsewhere: halving all keeps the shape.
void HistogramData::HalveBuckets() {
  for (std::atomic<Group*>& g : groups_) {
    Group* group = g.load(std::memory_order_relaxed);
    if (group == nullptr) continue;
    for (std::atomic<uint32_t>& b : *group) b.store(b.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
  }
}

void HistogramSnapshot::Add(const Histogram& histogram) {
  const HistogramData* data = histogram.data();
  if (data == nullptr) return;
  for (size_t i = 0; i < exact_.size(); ++i) {
    uint64_t n = data->exact_[i].load(std::memory_order_relaxed);
    exact_[i] += n;
    count_ += n;
  }
  sum_ += data->sum_.load(std::memory_order_relaxed);
  min_ = std::min(min_, data->min_.load(std::memory_order_relaxed));
  max_ = std::max(max_, data->max_.load(std::memory_order_relaxed));
  for (int g = 0; g < HistogramData::kGroups; ++g) {
    const HistogramData::Group* group = data->groups_[g].load(std::memory_order_acquire);
    if (group == nullptr) continue;
    for (int s = 0; s < HistogramData::kSubBuckets; ++s) {
      buckets_[g * HistogramData::kSubBuckets + s] += (*group)[s].load(std::memory_order_relaxed);
    }
  }
}

void HistogramSnapshot::Add(const HistogramSnapshot& other) {
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  for (size_t i = 0; i < exact_.size(); ++i) exact_[i] += other.exact_[i];
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
}

uint64_t HistogramSnapshot::CumulativeCount(size_t i) const {
  uint64_t n = 0;
  for (size_t k = 0; k <= i; ++k) n += exact_[k];
  return n;
}

double HistogramSnapshot::Quantile(double q) const {
  if (q <= 0) return static_cast<double>(min_);
  if (q >= 1) return static_cast<double>(max_);
  uint64_t total = 0;
  for (uint64_t n : buckets_) total += n;
  const double rank = q * static_cast<double>(total);
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    if (buckets_[i] == 0 || static_cast<double>(seen + buckets_[i]) < rank) {
      seen += buckets_[i];
      continue;
    }
    int group = static_cast<int>(i) / HistogramData::kSubBuckets;
    int sub = static_cast<int>(i) % HistogramData::kSubBuckets;
    double low = static_cast<double>(LowerBound(group, sub));
    double width = static_cast<double>(Width(group));
    // A bucket of width 1 holds one value; in a wider one, the values are taken as evenly spread.
    double value = width == 1 ? low : low + width * (rank - static_cast<double>(seen)) / static_cast<double>(buckets_[i]);
    return std::clamp(value, static_cast<double>(min_), static_cast<double>(max_));
  }
  return static_cast<double>(max_);
}

}  // namespace weft::observe
