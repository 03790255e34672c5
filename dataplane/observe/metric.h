#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

namespace weft::observe {

// Adds without an atomic read-modify-write: only one thread writes, others may read at any time.
template <typename T>
inline void SingleWriterAdd(std::atomic<T>& value, T n) {
  value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

// Counts events. Only grows.
// Owner: a group in a Shard. Thread: the shard's writes, any reads. Destroyed when: its scope is dropped.
class Counter {
 public:
  void Add(uint64_t n) { SingleWriterAdd(value_, n); }
  void Inc() { Add(1); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};
static_assert(sizeof(Counter) == 8);

// A level. The value that people see is the sum over all shards, so a process-wide level is set on one shard only (the
// main thread's).
// Owner, Thread, Destroyed when: as Counter.
class Gauge {
 public:
  void Add(int64_t n) { Store(value() + n); }
  void Inc() { Add(1); }
  void Dec() { Add(-1); }
  void Set(int64_t n) { Store(n); }
  int64_t value() const { return bits_.load(std::memory_order_relaxed) >> 1; }
  // False until it was changed for the first time (`/stats?usedonly`).
  bool used() const { return (bits_.load(std::memory_order_relaxed) & 1) != 0; }

 private:
  void Store(int64_t n) { bits_.store(n * 2 | 1, std::memory_order_relaxed); }
  std::atomic<int64_t> bits_{0};  // the value times two, plus the used bit
};
static_assert(sizeof(Gauge) == 8);

// The buckets that Prometheus sees: Envoy's defaults (envoy docs: config.metrics.v3.HistogramBucketSettings), times two
// so that 0.5 is a whole number. Recorded values are whole, hence value <= bound compares 2 * value.
inline constexpr std::array<uint64_t, 19> kTwiceBucketBounds = {
    1,     2,     10,    20,     50,     100,     200,     500,     1000,     2000,
    5000,  10000, 20000, 60000, 120000, 600000, 1200000, 3600000, 7200000};

// What a histogram holds: an exact count for each of the Prometheus buckets, and log-linear ones for quantiles: 16 a
// power of two, so a quantile is off by 3 % at most. Values above 2^28 (3 days in ms) fall into the last one; the
// greatest and the least value are exact. The log-linear part of one power of two is allocated at its first value.
// Owner: Histogram. Thread: as Counter. Destroyed when: its Histogram is.
class HistogramData {
 public:
  static constexpr int kSubBuckets = 16;
  static constexpr int kGroups = 26;  // 0..15, then one for each power of two from 2^4 to 2^28
  using Group = std::array<std::atomic<uint32_t>, kSubBuckets>;

  HistogramData() = default;
  HistogramData(const HistogramData&) = delete;
  HistogramData& operator=(const HistogramData&) = delete;
  ~HistogramData();

  void Record(uint64_t value);

 private:
  friend class HistogramSnapshot;
  Group* MakeGroup(int index);
  void HalveBuckets();

  std::atomic<uint64_t> sum_{0};
  std::atomic<uint64_t> min_{UINT64_MAX};
  std::atomic<uint64_t> max_{0};
  std::array<std::atomic<uint64_t>, kTwiceBucketBounds.size() + 1> exact_{};  // not cumulative; the last is +Inf
  std::array<std::atomic<Group*>, kGroups> groups_{};
};
static_assert(sizeof(HistogramData) + HistogramData::kGroups * sizeof(HistogramData::Group) <= 2100,
              "a full histogram is about 2 KB");

// A distribution of whole numbers. Costs one pointer until the first value.
// Owner, Thread, Destroyed when: as Counter.
class Histogram {
 public:
  Histogram() = default;
  Histogram(const Histogram&) = delete;
  Histogram& operator=(const Histogram&) = delete;
  ~Histogram() { delete data_.load(std::memory_order_relaxed); }

  void Record(uint64_t value) {
    HistogramData* data = data_.load(std::memory_order_relaxed);
    if (data == nullptr) [[unlikely]] {
      data = new HistogramData;
      data_.store(data, std::memory_order_release);
    }
    data->Record(value);
  }
  // Null until the first value.
  const HistogramData* data() const { return data_.load(std::memory_order_acquire); }

 private:
  std::atomic<HistogramData*> data_{nullptr};
};
static_assert(sizeof(Histogram) == 8);

// A sum of histograms, taken while their writers go on: for text output.
// Owner: the reader. Thread: the reader's.
class HistogramSnapshot {
 public:
  void Add(const Histogram& histogram);
  void Add(const HistogramSnapshot& other);

  uint64_t count() const { return count_; }
  uint64_t sum() const { return sum_; }
  // Values <= bound i of kTwiceBucketBounds.
  uint64_t CumulativeCount(size_t i) const;
  // q in 0..1. 0 and 1 are the least and the greatest value that was recorded. Needs count() > 0.
  double Quantile(double q) const;

 private:
  uint64_t count_ = 0, sum_ = 0, min_ = UINT64_MAX, max_ = 0;
  std::array<uint64_t, kTwiceBucketBounds.size() + 1> exact_{};
  std::array<uint64_t, HistogramData::kGroups * HistogramData::kSubBuckets> buckets_{};
};

}  // namespace weft::observe
