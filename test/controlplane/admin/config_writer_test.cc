#include "controlplane/admin/mgmt/config_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "controlplane/ingest/read.h"
#include "test/controlplane/admin/temp_directory.h"

namespace weft::ctl::admin {
namespace {

using Action = ConfigWriter::Action;

std::string Rule(const std::string& name, const std::string& subset, const std::string& ns = "") {
  return "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: " + name +
         "\n" + (ns.empty() ? "" : "  namespace: " + ns + "\n") + "spec:\n  host: " + name +
         "\n  subsets:\n  - name: " + subset + "\n    labels: {version: " + subset + "}\n";
}

ObjectPtr ToObject(const std::string& yaml) {
  ReadObjectsResult read = ReadObjects(yaml, "t");
  EXPECT_EQ(read.objects.size(), 1u);
  EXPECT_NE(read.objects[0].object, nullptr);
  return read.objects[0].object;
}

// Members are made in order: the directory has to be there first.
class WriterTest : public ::testing::Test {
 protected:
  absl::StatusOr<ConfigWriter::Outcome> Put(const std::string& yaml,
                                            const std::string& owner = "") {
    ObjectPtr object = ToObject(yaml);
    return writer.Put(object->key, object->content_hash, {yaml, "{\"json\": true}\n"}, owner);
  }
  ConfigWriter::Outcome MustPut(const std::string& yaml, const std::string& owner = "") {
    auto outcome = Put(yaml, owner);
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    return outcome.ok() ? *outcome : ConfigWriter::Outcome{};
  }
  ConfigWriter::Outcome MustRemove(const std::string& name) {
    auto outcome = writer.Remove({"DestinationRule", "default", name});
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    return outcome.ok() ? *outcome : ConfigWriter::Outcome{};
  }

  TempDirectory directory;
  ConfigWriter writer{directory.path(), "default"};
};

TEST_F(WriterTest, NewObjectGetsAFileOfItsOwn) {
  auto outcome = MustPut(Rule("reviews", "v1"));
  EXPECT_EQ(outcome.action, Action::kCreated);
  EXPECT_EQ(outcome.path, directory / "destinationrule/default/reviews.yaml");
  EXPECT_TRUE(directory.Files().empty()) << "nothing is written before Commit";
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(directory.Read("destinationrule/default/reviews.yaml"), Rule("reviews", "v1"));
  EXPECT_EQ(directory.Files().size(), 1u) << "temporary files are gone";
}

TEST_F(WriterTest, NamesThatMightBeMixedUpGetDifferentFiles) {
  EXPECT_NE(MustPut(Rule("b-c", "v1", "a")).path, MustPut(Rule("c", "v1", "a-b")).path);
}

TEST_F(WriterTest, OwnerFileIsAppendedTo) {
  directory.Write("team/all.yaml", Rule("a", "v1"));
  MustPut(Rule("b", "v1"), "team/all.yaml");
  MustPut(Rule("c", "v1"), "team/new.yaml");
  MustPut(Rule("d", "v1"), "team/new.yaml");
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(directory.Read("team/all.yaml"), Rule("a", "v1") + "---\n" + Rule("b", "v1"));
  EXPECT_EQ(directory.Read("team/new.yaml"), Rule("c", "v1") + "---\n" + Rule("d", "v1"));
}

TEST_F(WriterTest, ExistingObjectIsChangedWhereItIs) {
  const std::string head = "# routes of the shop\n", other = "# other\n" + Rule("other", "v1");
  directory.Write("shop.yaml", head + Rule("reviews", "v1") + "---\n" + other);
  auto outcome = MustPut(Rule("reviews", "v2"), "elsewhere.yaml");
  EXPECT_EQ(outcome.action, Action::kConfigured);
  EXPECT_EQ(outcome.path, directory / "shop.yaml");
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(directory.Read("shop.yaml"), Rule("reviews", "v2") + "---\n" + other);
}

TEST_F(WriterTest, EqualContentIsNotWritten) {
  directory.Write("shop.yaml", "# comment\n" + Rule("reviews", "v1"));
  const auto before = std::filesystem::last_write_time(directory / "shop.yaml");
  EXPECT_EQ(MustPut(Rule("reviews", "v1")).action, Action::kUnchanged);
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(directory.Read("shop.yaml"), "# comment\n" + Rule("reviews", "v1"));
  EXPECT_EQ(std::filesystem::last_write_time(directory / "shop.yaml"), before);
}

TEST_F(WriterTest, BrokenDocumentIsRepaired) {
  std::string broken = Rule("reviews", "v1");
  broken.replace(broken.find("host:"), 5, "hast:");
  directory.Write("shop.yaml", Rule("a", "v1") + "---\n" + broken);
  EXPECT_EQ(MustPut(Rule("reviews", "v1")).action, Action::kConfigured);
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(directory.Read("shop.yaml"), Rule("a", "v1") + "---\n" + Rule("reviews", "v1"));
}

TEST_F(WriterTest, TwoChangesOfOneFile) {
  directory.Write("shop.yaml",
                  Rule("a", "v1") + "---\n" + Rule("b", "v1") + "---\n" + Rule("c", "v1"));
  MustPut(Rule("a", "v2"));
  MustRemove("b");
  MustPut(Rule("c", "v2"));
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(directory.Read("shop.yaml"), Rule("a", "v2") + "---\n" + Rule("c", "v2"));
}

TEST_F(WriterTest, JsonFileStaysJson) {
  directory.Write(
      "shop.json",
      R"({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "reviews"}, "spec": {"host": "reviews"}})");
  EXPECT_EQ(MustPut(Rule("reviews", "v1")).path, directory / "shop.json");
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(directory.Read("shop.json"), "{\"json\": true}\n");
}

TEST_F(WriterTest, RemoveCutsTheDocumentAndEmptyFilesGo) {
  directory.Write("one.yaml", "# alone\n" + Rule("alone", "v1"));
  directory.Write("two.yaml", Rule("a", "v1") + "---\n" + Rule("b", "v1"));
  EXPECT_EQ(MustRemove("alone").action, Action::kRemoved);
  EXPECT_EQ(MustRemove("a").path, directory / "two.yaml");
  EXPECT_EQ(MustRemove("absent").action, Action::kAbsent);
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_FALSE(directory.Exists("one.yaml"));
  EXPECT_EQ(ReadObjects(directory.Read("two.yaml"), "").objects.size(), 1u);
}

TEST_F(WriterTest, RemoveTakesShadowedOnesToo) {
  directory.Write("a.yaml", Rule("reviews", "v1"));
  directory.Write("b.yaml", Rule("other", "v1") + "---\n" + Rule("reviews", "v2"));
  MustRemove("reviews");
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_FALSE(directory.Exists("a.yaml"));
  EXPECT_EQ(directory.Read("b.yaml"), Rule("other", "v1"));
}

TEST_F(WriterTest, RemoveTakesAllOfOneFile) {
  directory.Write("a.yaml", Rule("reviews", "v1") + "---\n" + Rule("reviews", "v2") + "---\n" +
                                Rule("other", "v1"));
  MustRemove("reviews");
  ASSERT_TRUE(writer.Commit().ok());
  ReadObjectsResult read = ReadObjects(directory.Read("a.yaml"), "");
  ASSERT_EQ(read.objects.size(), 1u);
  EXPECT_EQ(read.objects[0].key->name, "other");
}

TEST_F(WriterTest, OldLineEndings) {
  std::string old = Rule("a", "v1") + "---\n" + Rule("b", "v1") + "---\n" + Rule("c", "v1");
  std::replace(old.begin(), old.end(), '\n', '\r');
  directory.Write("a.yaml", old);
  EXPECT_EQ(MustPut(Rule("b", "v2")).action, Action::kConfigured);
  // Now it has lines of both kinds. Where a document begins is then not certain: either it works,
  // or it is refused.
  const ObjectKey c{"DestinationRule", "default", "c"};
  auto removed = writer.Remove(c);
  if (!removed.ok()) {
    EXPECT_EQ(removed.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(removed.status().message().find("edit it by hand"), absl::string_view::npos);
  }
  ASSERT_TRUE(writer.Commit().ok());
  ReadObjectsResult read = ReadObjects(directory.Read("a.yaml"), "");
  ASSERT_EQ(read.objects.size(), removed.ok() ? 2u : 3u);
  EXPECT_EQ(read.objects[0].object->content_hash, ToObject(Rule("a", "v1"))->content_hash);
  EXPECT_EQ(read.objects[1].object->content_hash, ToObject(Rule("b", "v2"))->content_hash);
}

TEST_F(WriterTest, TheOneInEffectIsChanged) {
  directory.Write("a.yaml", Rule("reviews", "v1"));
  directory.Write("b.yaml", Rule("reviews", "v2"));
  EXPECT_EQ(MustPut(Rule("reviews", "v3")).path, directory / "a.yaml");
}

TEST_F(WriterTest, HiddenFilesAreNotTouched) {
  directory.Write(".git/a.yaml", Rule("reviews", "v1"));
  directory.Write(".b.yaml", Rule("reviews", "v1"));
  EXPECT_EQ(MustPut(Rule("reviews", "v1")).action, Action::kCreated);
}

TEST_F(WriterTest, ChangeByAnotherMeanwhileIsNotOverwritten) {
  directory.Write("a.yaml", Rule("a", "v1"));
  directory.Write("b.yaml", Rule("b", "v1"));
  MustPut(Rule("a", "v2"));
  MustPut(Rule("b", "v2"));
  directory.Write("b.yaml", Rule("b", "v3"));
  absl::Status status = writer.Commit();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_NE(status.message().find("b.yaml"), absl::string_view::npos);
  EXPECT_EQ(directory.Read("a.yaml"), Rule("a", "v1")) << "all or nothing";
  EXPECT_EQ(directory.Read("b.yaml"), Rule("b", "v3"));
  EXPECT_EQ(directory.Files().size(), 2u);
}

TEST_F(WriterTest, FileThatAppearedMeanwhileIsNotOverwritten) {
  MustPut(Rule("a", "v1"));
  directory.Write("destinationrule/default/a.yaml", "mine");
  EXPECT_EQ(writer.Commit().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(directory.Read("destinationrule/default/a.yaml"), "mine");
}

TEST_F(WriterTest, DiskThatRefusesLeavesTheOldFiles) {
  directory.Write("a.yaml", Rule("a", "v1"));
  MustPut(Rule("a", "v2"));
  // The new file's directory can't be made, since a file has its name.
  MustPut(Rule("b", "v1"));
  directory.Write("destinationrule", "in the way");
  absl::Status status = writer.Commit();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_EQ(directory.Read("a.yaml"), Rule("a", "v1"));
  EXPECT_EQ(directory.Files().size(), 2u);
}

TEST_F(WriterTest, ModeOfAFileIsKept) {
  directory.Write("a.yaml", Rule("a", "v1"));
  chmod((directory / "a.yaml").c_str(), 0640);
  MustPut(Rule("a", "v2"));
  ASSERT_TRUE(writer.Commit().ok());
  struct stat s;
  ASSERT_EQ(stat((directory / "a.yaml").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777, 0640u);
}

TEST_F(WriterTest, LinksAreManagedElsewhere) {
  TempDirectory other;
  other.Write("a.yaml", Rule("a", "v1"));
  std::filesystem::create_symlink(other / "a.yaml", directory / "a.yaml");
  MustPut(Rule("a", "v2"));
  EXPECT_EQ(writer.Commit().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(other.Read("a.yaml"), Rule("a", "v1"));
}

TEST_F(WriterTest, OwnerFilesOutsideAreRefused) {
  for (const char* owner : {"/etc/a.yaml", "../a.yaml", "a/../../b.yaml", ".hidden/a.yaml",
                            "a/.b.yaml", "a.txt", "a", "a.json", "./a.yaml", "a//"}) {
    EXPECT_EQ(Put(Rule("a", "v1"), owner).status().code(), absl::StatusCode::kInvalidArgument)
        << owner;
  }
}

TEST_F(WriterTest, NamesCannotLeaveTheDirectory) {
  for (const char* name : {"../../etc/passwd", "a/b", "", ".a", "a\nb"}) {
    EXPECT_EQ(writer.Put({"DestinationRule", "default", name}, 1, {"x", "x"}, "").status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
}

TEST(CheckWritable, MarkerSaysWhereToGo) {
  TempDirectory directory;
  EXPECT_TRUE(CheckWritable(directory.path()).ok());
  directory.Write(kReadOnlyMarker, "synced by flux from the repository mesh-config\n");
  absl::Status status = CheckWritable(directory.path());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(
      status.message().find("managed elsewhere: synced by flux from the repository mesh-config"),
      absl::string_view::npos)
      << status;
  EXPECT_NE(status.message().find(directory / kReadOnlyMarker), absl::string_view::npos) << status;
}

TEST(CheckWritable, MissingDirectory) {
  EXPECT_EQ(CheckWritable("/nonexistent/dir").code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace weft::ctl::admin
