#include "controlplane/admin/mgmt/document_text.h"

#include <gtest/gtest.h>

#include "api/cpp/yaml.h"

namespace weft::ctl::admin {
namespace {

// Scalars at `a` of all documents that the text reads as.
std::string Read(const std::string& text) {
  std::vector<api::SourceError> errors;
  std::string out;
  for (const api::Document& document : api::ParseDocuments(text, "t", &errors)) {
    out += document.ScalarAt("a").value_or("?") + " ";
  }
  EXPECT_FALSE(api::HasError(errors)) << api::ToString(errors);
  return out;
}

constexpr char kThree[] =
    "# head\n"
    "a: 1  # one\n"
    "---\n"
    "# about two\n"
    "a: 2\n"
    "text: |\n"
    "  ---\n"
    "  not a separator\n"
    "--- # with a comment\n"
    "a: 3\n";

TEST(DocumentText, UnchangedIsTheSameText) {
  for (const char* text : {kThree, "", "\n\n", "a: 1", "---\na: 1\n...\n", "%YAML 1.1\n---\na: 1\n",
                           "--- {a: 1}\n", "a: 1\r\n---\r\na: 2\r\n", "a: 1\n...\na: 2\n"}) {
    EXPECT_EQ(DocumentText(text).ToString(), text);
  }
}

TEST(DocumentText, LinesBelongToDocuments) {
  DocumentText text(kThree);
  ASSERT_EQ(text.size(), 3u);
  EXPECT_EQ(text.IndexOfLine(1), 0u);
  EXPECT_EQ(text.IndexOfLine(2), 0u);
  EXPECT_EQ(text.IndexOfLine(5), 1u);
  EXPECT_EQ(text.IndexOfLine(8), 1u);
  EXPECT_EQ(text.IndexOfLine(10), 2u);
  EXPECT_EQ(text.IndexOfLine(99), 2u);
}

TEST(DocumentText, ReplaceLeavesTheOthersAsTheyAre) {
  DocumentText text(kThree);
  text.Replace(1, "---\n\n# new\na: two\n\n");
  EXPECT_EQ(text.ToString(),
            "# head\na: 1  # one\n---\n# new\na: two\n--- # with a comment\na: 3\n");
  text.Replace(0, "a: one");
  text.Replace(2, "a: three");
  EXPECT_EQ(text.ToString(), "a: one\n---\n# new\na: two\n---\na: three\n");
}

TEST(DocumentText, ReplaceDocumentOnItsSeparatorsLine) {
  DocumentText text("--- {a: 1}\n--- {a: 2}\n");
  EXPECT_EQ(Read(text.ToString()), "1 2 ");
  text.Replace(text.IndexOfLine(2), "a: two\n");
  EXPECT_EQ(Read(text.ToString()), "1 two ");
}

TEST(DocumentText, ReplaceAfterAnEndMarker) {
  DocumentText text("a: 1\n...\na: 2\n");
  text.Replace(0, "a: one\n...\n");
  EXPECT_EQ(Read(text.ToString()), "one 2 ");
}

TEST(DocumentText, FileWithoutNewlineAtItsEnd) {
  DocumentText text("a: 1\n---\na: 2");
  text.Append("a: 3");
  EXPECT_EQ(text.ToString(), "a: 1\n---\na: 2\n---\na: 3\n");
}

TEST(DocumentText, Remove) {
  DocumentText text(kThree);
  text.Remove(0);
  EXPECT_EQ(Read(text.ToString()), "2 3 ");
  text.Remove(2);
  EXPECT_EQ(Read(text.ToString()), "2 ");
  EXPECT_NE(text.ToString().find("# about two"), std::string::npos);
  EXPECT_FALSE(text.empty());
  text.Remove(1);
  EXPECT_TRUE(text.empty());
}

TEST(DocumentText, AppendToNothingAndToComments) {
  DocumentText nothing("");
  EXPECT_TRUE(nothing.empty());
  nothing.Append("---\na: 1\n");
  EXPECT_EQ(nothing.ToString(), "a: 1\n");
  nothing.Append("a: 2\n");
  EXPECT_EQ(nothing.ToString(), "a: 1\n---\na: 2\n");

  DocumentText comments("# our routes\n\n");
  EXPECT_TRUE(comments.empty());
  comments.Append("a: 1");
  EXPECT_EQ(comments.ToString(), "# our routes\n\na: 1\n");
}

TEST(DocumentText, ChangedTextReadsBack) {
  DocumentText text("%YAML 1.1\n---\na: 1\n...\n---\na: 2\n...\n");
  EXPECT_EQ(Read(text.ToString()), "1 2 ");
  text.Replace(text.IndexOfLine(3), "a: one");
  EXPECT_EQ(Read(text.ToString()), "one 2 ");
  text.Append("a: 3");
  EXPECT_EQ(Read(text.ToString()), "one 2 3 ");
}

TEST(TrimDocument, Cases) {
  EXPECT_EQ(TrimDocument(""), "");
  EXPECT_EQ(TrimDocument("---\n"), "");
  EXPECT_EQ(TrimDocument("\n---\n\n  a: 1\n\n...\n"), "  a: 1\n");
  EXPECT_EQ(TrimDocument("# c\na: 1"), "# c\na: 1\n");
  EXPECT_EQ(TrimDocument("--- {a: 1}"), "{a: 1}\n");
  EXPECT_EQ(TrimDocument("----\n"), "----\n");
}

}  // namespace
}  // namespace weft::ctl::admin
