// The walker from a tape into a message. Private to this folder; the rules are in README.md of the folder above.
#pragma once

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/cpp/scalar.h"
#include "api/cpp/tape.h"
#include "api/cpp/yaml.h"

namespace weft::api::internal {

// One reading of one subtree.
//
// Owner: ReadInto's stack. Thread: the caller's. Destroyed when: the reading is over.
class Reader {
 public:
  // `path`: keys that lead to the subtree, as the file spells them.
  Reader(const Tape& tape, const ReadOptions& options, std::vector<std::string_view> path,
         std::vector<SourceError>* errors);

  // Any message, well-known ones in their own forms. A null leaves it empty.
  void ReadMessage(uint32_t node, google::protobuf::Message* out);
  bool failed() const { return failed_; }

 private:
  using Message = google::protobuf::Message;
  using Field = google::protobuf::FieldDescriptor;

  struct Step {
    std::string_view key;
    int index = -1;
  };
  // Pushes a step for its life.
  class In;
  // Goes down some levels of messages for its life; false at `node` when that is too deep to be sent.
  class Down;

  // --- reader.cc: messages, fields, maps, Any, Struct
  void ReadFields(uint32_t node, Message* out, bool skip_type);
  void ReadField(uint32_t value, const Field* field, Message* out);
  void ReadList(uint32_t node, const Field* field, Message* out);
  void ReadMap(uint32_t node, const Field* field, Message* out);
  void ReadOne(uint32_t node, const Field* field, Message* out);
  void ReadAny(uint32_t node, google::protobuf::Any* out);
  void ReadStruct(uint32_t node, google::protobuf::Struct* out);
  void ReadListValue(uint32_t node, google::protobuf::ListValue* out);
  void ReadValue(uint32_t node, google::protobuf::Value* out);
  const Field* FindField(const google::protobuf::Descriptor* type, std::string_view name) const;
  void ReportUnknown(uint32_t key, const google::protobuf::Descriptor* type);
  void ReportDuplicate(uint32_t key, uint32_t first);
  std::string SpellingOf(const Field* field, std::string_view like) const;

  // --- read_scalar.cc: nothing means that an error was reported
  void SetScalar(uint32_t node, const Field* field, Message* out);
  void SetDuration(uint32_t node, Message* out);
  void SetTimestamp(uint32_t node, Message* out);
  std::optional<std::string> StringOf(uint32_t node);
  std::optional<std::string> BytesOf(uint32_t node);
  std::optional<bool> BoolOf(uint32_t node);
  std::optional<Integer> IntegerOf(uint32_t node, int64_t least, uint64_t most);
  std::optional<double> DoubleOf(uint32_t node, bool single);
  std::optional<int> EnumOf(uint32_t node, const google::protobuf::EnumDescriptor* type);
  bool SetMapKey(uint32_t node, const Field* field, Message* entry);
  bool IsScalarFor(uint32_t node, std::string_view expected);

  bool IsNull(uint32_t node) const;
  // `"ten"`, `10`, `true`, `null`, `a mapping`, `a list`.
  std::string Describe(uint32_t node) const;
  std::string PathText() const;
  void Report(uint32_t node, std::string message, bool warning = false);
  void ReportExpected(uint32_t node, std::string_view expected);

  const Tape& tape_;
  const ReadOptions& options_;
  std::vector<SourceError>* errors_;
  std::vector<Step> path_;
  int level_ = 0;  // messages inside messages, map entries included
  size_t reported_ = 0;
  bool failed_ = false;
  bool full_ = false;  // enough errors: stop
};

class Reader::In {
 public:
  In(Reader* reader, Step step) : reader_(reader) { reader_->path_.push_back(step); }
  ~In() { reader_->path_.pop_back(); }
  In(const In&) = delete;
  In& operator=(const In&) = delete;

 private:
  Reader* reader_;
};

class Reader::Down {
 public:
  Down(Reader* reader, int levels, uint32_t node) : reader_(reader), levels_(levels) {
    reader_->level_ += levels;
    fits_ = reader_->level_ <= kMaxLevels;
    if (!fits_) reader_->Report(node, "nested too deeply: such a message can't be sent");
  }
  ~Down() { reader_->level_ -= levels_; }
  Down(const Down&) = delete;
  Down& operator=(const Down&) = delete;
  explicit operator bool() const { return fits_; }

 private:
  // protobuf's parsers refuse more than 100; some are left for the message around this one.
  static constexpr int kMaxLevels = 90;
  Reader* reader_;
  const int levels_;
  bool fits_;
};

}  // namespace weft::api::internal
