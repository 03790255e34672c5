// Changing one document of a YAML file: whatever the text, an unchanged file keeps every byte, and
// a change of one document leaves what the others say.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "api/cpp/yaml.h"
#include "controlplane/admin/mgmt/document_text.h"

using weft::ctl::admin::DocumentText;

#define CHECK(x) \
  if (!(x)) abort()

namespace {

// What tells documents apart here: the value of `a`, or the number of keys.
std::vector<std::string> Read(const std::string& text, bool* good) {
  std::vector<weft::api::SourceError> errors;
  std::vector<std::string> out;
  for (const auto& document : weft::api::ParseDocuments(text, "f", &errors)) {
    out.push_back(document.ScalarAt("a").value_or("") + "/" +
                  std::to_string(document.Keys().size()));
  }
  *good = !weft::api::HasError(errors);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 1 << 16) return 0;
  const std::string text(reinterpret_cast<const char*>(data), size);
  CHECK(DocumentText(text).ToString() == text);

  bool good = false;
  const std::vector<std::string> before = Read(text, &good);
  std::vector<weft::api::SourceError> errors;
  const auto documents = weft::api::ParseDocuments(text, "f", &errors);
  if (!good) return 0;
  // Directives reach over documents, and with several kinds of line breaks lines are counted in
  // more than one way. ConfigWriter reads again what it wrote, and refuses what came out
  // differently.
  for (const char* odd : {"%", "\r", "\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9", "\xEF\xBB\xBF"}) {
    if (text.find(odd) != std::string::npos) return 0;
  }
  for (size_t i = 0; i < documents.size(); ++i) {
    DocumentText changed(text);
    changed.Replace(changed.IndexOfLine(documents[i].line()), "a: changed\n");
    const std::vector<std::string> after = Read(changed.ToString(), &good);
    CHECK(good && after.size() == before.size());
    for (size_t j = 0; j < after.size(); ++j) CHECK(after[j] == (i == j ? "changed/1" : before[j]));

    DocumentText cut(text);
    cut.Remove(cut.IndexOfLine(documents[i].line()));
    CHECK(Read(cut.ToString(), &good).size() + 1 == before.size() && good);
  }
  return 0;
}
