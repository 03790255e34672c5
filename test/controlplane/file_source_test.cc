// A real directory, real inotify; what editors and mounts do to files.
#include "controlplane/ingest/file/file_source.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "test/controlplane/bookinfo.h"
#include "test/controlplane/temp_directory.h"

namespace weft::ctl {
namespace {

using testing::ServiceYaml;
using testing::TempDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::chrono::seconds kLimit{10};

// Takes events as the engine does, and remembers every set of names that was ever there.
class Sink : public SourceSink {
 public:
  void OnEvents(std::vector<SourceEvent> events) override {
    std::lock_guard lock(mutex_);
    for (SourceEvent& event : events) {
      if (auto* put = std::get_if<Put>(&event)) {
        objects_[put->object->key.name] = put->object;
        origins_.insert(put->object->origin);
        refused_.erase(put->object->key.name);
      }
      if (auto* remove = std::get_if<Remove>(&event)) {
        objects_.erase(remove->key.name);
        refused_.erase(remove->key.name);
        ++removals_;
      }
      if (auto* refused = std::get_if<Refused>(&event)) refused_[refused->key.name] = refused->errors.at(0).ToString();
      if (auto* report = std::get_if<Report>(&event)) report_ = api::ToString(report->errors);
      if (std::holds_alternative<SyncedMark>(event)) ++synced_;
    }
    ++batches_;
    changed_.notify_all();
  }

  template <typename F>
  bool Wait(F done, std::chrono::milliseconds limit = kLimit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, done);
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> out;
    for (const auto& [name, object] : objects_) out.push_back(name);
    return out;
  }
  bool WaitForNames(std::vector<std::string> names) {
    return Wait([&] { return Names() == names; });
  }
  int64_t HashOf(const std::string& name) { return static_cast<int64_t>(objects_.at(name)->content_hash); }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, ObjectPtr> objects_;
  std::set<Origin> origins_;
  std::map<std::string, std::string> refused_;
  std::string report_;
  int synced_ = 0, removals_ = 0, batches_ = 0;
};

class FileSourceTest : public ::testing::Test {
 protected:
  ~FileSourceTest() override {
    if (source_ != nullptr) source_->Stop();
  }
  void Start(std::vector<std::string> directories = {}) {
    FileSourceOptions options;
    options.directories = directories.empty() ? std::vector<std::string>{directory_.path()} : directories;
    options.removal_grace = grace_;
    options.writing_grace = writing_grace_;
    options.rescan = rescan_;
    source_ = std::make_unique<FileSource>(options);
    source_->Start(0, &sink_);
    ASSERT_TRUE(sink_.Wait([&] { return sink_.synced_ == 1; }));
  }
  // Something else is written and has arrived: what was written before has been looked at.
  void Barrier() {
    const std::string name = "barrier" + std::to_string(++barriers_);
    directory_.Replace(name + ".yaml", ServiceYaml(name));
    ASSERT_TRUE(sink_.Wait([&] { return sink_.objects_.contains(name); }));
  }

  TempDirectory directory_;
  Sink sink_;
  std::chrono::milliseconds grace_{60}, writing_grace_{500}, rescan_{60000};
  std::unique_ptr<FileSource> source_;
  int barriers_ = 0;
};

TEST_F(FileSourceTest, NamesOfFiles) {
  for (const char* name : {"a.yaml", "a.yml", "a.json"}) EXPECT_TRUE(IsConfigFileName(name)) << name;
  for (const char* name : {"a.yaml~", ".a.yaml", ".a.yaml.swp", "#a.yaml#", ".#a.yaml", "a.yaml.bak", "4913", "a.txt", "yaml"}) {
    EXPECT_FALSE(IsConfigFileName(name)) << name;
  }
}

TEST_F(FileSourceTest, ReadsWhatIsThere) {
  directory_.Write("b.yaml", ServiceYaml("b") + ServiceYaml("c"));
  directory_.Write("sub/deep/a.yml", ServiceYaml("a"));
  directory_.Write("d.json", R"({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "d"}, "spec": {"host": "d"}})");
  directory_.Write(".hidden.yaml", ServiceYaml("x"));
  directory_.Write(".git/x.yaml", ServiceYaml("x"));
  directory_.Write("notes.txt", "x");
  Start();
  EXPECT_THAT(sink_.Names(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(sink_.batches_, 1) << "everything that was there arrives together";
  EXPECT_THAT(sink_.report_, IsEmpty());
  EXPECT_EQ(sink_.objects_["c"]->origin.file, directory_.Path("b.yaml"));
  EXPECT_GT(sink_.objects_["c"]->origin.line, 1);
}

TEST_F(FileSourceTest, AnEmptyDirectoryIsInSync) {
  Start();
  EXPECT_THAT(sink_.Names(), IsEmpty());
}

TEST_F(FileSourceTest, SavesOfEveryKind) {
  directory_.Write("a.yaml", ServiceYaml("a"));
  Start();
  const int64_t first = sink_.HashOf("a");
  directory_.Write("a.yaml", ServiceYaml("a", "default", 81));
  ASSERT_TRUE(sink_.Wait([&] { return sink_.HashOf("a") != first; })) << "truncate and write";
  const int64_t second = sink_.HashOf("a");
  directory_.Replace("a.yaml", ServiceYaml("a", "default", 82));
  ASSERT_TRUE(sink_.Wait([&] { return sink_.HashOf("a") != second; })) << "rename over";
  const int64_t third = sink_.HashOf("a");
  // vim with a backup: the file is moved away and written anew.
  directory_.Rename("a.yaml", "a.yaml~");
  directory_.Write("a.yaml", ServiceYaml("a", "default", 83));
  directory_.Remove("a.yaml~");
  ASSERT_TRUE(sink_.Wait([&] { return sink_.HashOf("a") != third; })) << "backup and write";
  // A new file and a new directory.
  directory_.Write("new/b.yaml", ServiceYaml("b"));
  ASSERT_TRUE(sink_.WaitForNames({"a", "b"}));
  directory_.Write("new/c.yaml", ServiceYaml("c"));
  ASSERT_TRUE(sink_.WaitForNames({"a", "b", "c"})) << "the new directory is watched";
  EXPECT_EQ(sink_.removals_, 0);
}

TEST_F(FileSourceTest, RemovedFilesAndDocuments) {
  directory_.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  directory_.Write("sub/c.yaml", ServiceYaml("c"));
  Start();
  directory_.Replace("a.yaml", ServiceYaml("a"));
  ASSERT_TRUE(sink_.WaitForNames({"a", "c"}));
  directory_.Remove("sub");
  ASSERT_TRUE(sink_.WaitForNames({"a"}));
  directory_.Remove("a.yaml");
  ASSERT_TRUE(sink_.WaitForNames({}));
}

// A shell's `> file` and then `cat >> file`: two opens, and the file is empty in between.
TEST_F(FileSourceTest, AnEmptyMomentIsNoRemoval) {
  grace_ = std::chrono::milliseconds(2000);
  directory_.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  Start();
  const int64_t before = sink_.HashOf("b");
  directory_.Write("a.yaml", "");
  Barrier();
  EXPECT_TRUE(sink_.objects_.contains("a") && sink_.objects_.contains("b"));
  directory_.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b", "default", 81));
  ASSERT_TRUE(sink_.Wait([&] { return sink_.HashOf("b") != before; }));
  EXPECT_EQ(sink_.removals_, 0);
}

TEST_F(FileSourceTest, DeleteAndWriteAnewIsNoRemoval) {
  grace_ = std::chrono::milliseconds(2000);
  directory_.Write("a.yaml", ServiceYaml("a"));
  Start();
  directory_.Remove("a.yaml");
  Barrier();
  directory_.Write("a.yaml", ServiceYaml("a"));
  Barrier();
  EXPECT_TRUE(sink_.objects_.contains("a"));
  EXPECT_EQ(sink_.removals_, 0);
}

// Somebody writes in pieces and takes time. The half that is there would parse, and lacks an object.
TEST_F(FileSourceTest, AHalfWrittenFileIsLeftAlone) {
  writing_grace_ = std::chrono::milliseconds(60000);
  directory_.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  Start();
  const int64_t before = sink_.HashOf("a");
  const std::string text = ServiceYaml("a", "default", 81) + ServiceYaml("b", "default", 81);
  const int fd = open(directory_.Path("a.yaml").c_str(), O_WRONLY | O_TRUNC);
  ASSERT_EQ(write(fd, text.data(), text.size() / 2), static_cast<ssize_t>(text.size() / 2));
  Barrier();
  EXPECT_EQ(sink_.HashOf("a"), before);
  ASSERT_GT(write(fd, text.data() + text.size() / 2, text.size() - text.size() / 2), 0);
  close(fd);
  ASSERT_TRUE(sink_.Wait([&] { return sink_.HashOf("a") != before; }));
  EXPECT_EQ(sink_.removals_, 0);
  EXPECT_THAT(sink_.report_, IsEmpty());
}

TEST_F(FileSourceTest, AFileThatIsNeverClosedIsReadInTheEnd) {
  writing_grace_ = std::chrono::milliseconds(30);
  Start();
  const std::string text = ServiceYaml("a");
  const int fd = open(directory_.Path("a.yaml").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  EXPECT_TRUE(sink_.WaitForNames({"a"}));
  close(fd);
}

// A Kubernetes volume: names are links through ..data, which is swapped by rename.
TEST_F(FileSourceTest, SwapOfALink) {
  namespace fs = std::filesystem;
  directory_.Write("..v1/a.yaml", ServiceYaml("a"));
  directory_.Write("..v1/b.yaml", ServiceYaml("b"));
  fs::create_symlink("..v1", directory_.Path("..data"));
  fs::create_symlink("..data/a.yaml", directory_.Path("a.yaml"));
  fs::create_symlink("..data/b.yaml", directory_.Path("b.yaml"));
  Start();
  EXPECT_THAT(sink_.Names(), ElementsAre("a", "b"));
  const int64_t before = sink_.HashOf("a");
  directory_.Write("..v2/a.yaml", ServiceYaml("a", "default", 81));
  directory_.Write("..v2/b.yaml", ServiceYaml("b"));
  fs::create_symlink("..v2", directory_.Path("..data_tmp"));
  directory_.Rename("..data_tmp", "..data");
  ASSERT_TRUE(sink_.Wait([&] { return sink_.HashOf("a") != before; }));
  EXPECT_EQ(sink_.removals_, 0);
}

TEST_F(FileSourceTest, AnotherTargetOfALink) {
  TempDirectory elsewhere;
  elsewhere.Write("a.yaml", ServiceYaml("a"));
  elsewhere.Write("b.yaml", ServiceYaml("b"));
  Start();
  std::filesystem::create_symlink(elsewhere.Path("a.yaml"), directory_.Path("x.yaml"));
  ASSERT_TRUE(sink_.WaitForNames({"a"}));
  std::filesystem::create_symlink(elsewhere.Path("b.yaml"), directory_.Path(".x"));
  directory_.Rename(".x", "x.yaml");
  ASSERT_TRUE(sink_.WaitForNames({"b"}));
}

TEST_F(FileSourceTest, ChangesThatTellNoEventAreFoundByLooking) {
  rescan_ = std::chrono::milliseconds(20);
  TempDirectory elsewhere;
  elsewhere.Write("a.yaml", ServiceYaml("a"));
  std::filesystem::create_symlink(elsewhere.Path("a.yaml"), directory_.Path("x.yaml"));
  Start();
  elsewhere.Write("a.yaml", ServiceYaml("b"));
  EXPECT_TRUE(sink_.WaitForNames({"b"}));
}

TEST_F(FileSourceTest, ABrokenFileKeepsItsObjects) {
  directory_.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  Start();
  directory_.Replace("a.yaml", "kind: [");
  ASSERT_TRUE(sink_.Wait([&] { return !sink_.report_.empty(); }));
  EXPECT_THAT(sink_.report_, HasSubstr("a.yaml:2:1: "));
  EXPECT_THAT(sink_.Names(), ElementsAre("a", "b"));
  directory_.Replace("a.yaml", ServiceYaml("a"));
  ASSERT_TRUE(sink_.WaitForNames({"a"})) << "good again, and without b";
  EXPECT_THAT(sink_.report_, IsEmpty());
}

TEST_F(FileSourceTest, ABrokenDocumentKeepsItsObjectAndLetsTheOthersChange) {
  directory_.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  Start();
  const int64_t before = sink_.HashOf("b");
  directory_.Replace("a.yaml", "kind: [\n---\n" + ServiceYaml("b", "default", 81));
  ASSERT_TRUE(sink_.Wait([&] { return sink_.HashOf("b") != before; }));
  EXPECT_THAT(sink_.Names(), ElementsAre("a", "b"));
}

TEST_F(FileSourceTest, AnInvalidObjectIsToldByName) {
  directory_.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  Start();
  directory_.Replace("a.yaml", ServiceYaml("a", "default", 0) + ServiceYaml("c"));
  ASSERT_TRUE(sink_.WaitForNames({"a", "c"})) << "b is gone, a is as it was";
  EXPECT_THAT(sink_.refused_["a"], HasSubstr("spec.ports[0].number"));
}

TEST_F(FileSourceTest, AMissingDirectoryIsReportedAndFoundLater) {
  const std::string late = directory_.Path("late");
  Start({late});
  EXPECT_THAT(sink_.report_, HasSubstr(late));
  EXPECT_THAT(sink_.report_, HasSubstr("No such file or directory"));
  directory_.Write("late/a.yaml", ServiceYaml("a"));
  ASSERT_TRUE(sink_.WaitForNames({"a"}));
  EXPECT_THAT(sink_.report_, IsEmpty());
}

TEST_F(FileSourceTest, ADirectoryThatGoesAwayKeepsItsObjects) {
  directory_.Write("conf/a.yaml", ServiceYaml("a"));
  Start({directory_.Path("conf")});
  directory_.Rename("conf", "elsewhere");
  ASSERT_TRUE(sink_.Wait([&] { return !sink_.report_.empty(); }));
  EXPECT_THAT(sink_.Names(), ElementsAre("a"));
  directory_.Write("elsewhere/a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  directory_.Rename("elsewhere", "conf");
  ASSERT_TRUE(sink_.WaitForNames({"a", "b"}));
  EXPECT_EQ(sink_.removals_, 0);
}

TEST_F(FileSourceTest, RemovalOfTheWholeDirectoryIsAMistakeNotAnOrder) {
  directory_.Write("conf/a.yaml", ServiceYaml("a"));
  Start({directory_.Path("conf")});
  directory_.Remove("conf");
  ASSERT_TRUE(sink_.Wait([&] { return !sink_.report_.empty(); }));
  EXPECT_THAT(sink_.Names(), ElementsAre("a"));
  EXPECT_EQ(sink_.removals_, 0);
}

TEST_F(FileSourceTest, SeveralDirectoriesInOrder) {
  directory_.Write("one/z.yaml", ServiceYaml("a", "default", 81));
  directory_.Write("two/a.yaml", ServiceYaml("a", "default", 82));
  Start({directory_.Path("two") + "/", directory_.Path("one")});
  // Both are told; whoever takes them knows by their order which one counts.
  EXPECT_THAT(sink_.origins_, ElementsAre(Origin{0, 0, directory_.Path("two/a.yaml"), 1},
                                          Origin{0, 1, directory_.Path("one/z.yaml"), 1}));
}

TEST_F(FileSourceTest, ADirectoryInsideAnotherIsReadOnce) {
  directory_.Write("sub/a.yaml", ServiceYaml("a"));
  Start({directory_.path(), directory_.Path("sub")});
  EXPECT_EQ(sink_.objects_["a"]->origin.directory, 0u);
  directory_.Write("sub/b.yaml", ServiceYaml("b"));
  ASSERT_TRUE(sink_.WaitForNames({"a", "b"}));
  EXPECT_EQ(sink_.objects_["b"]->origin.directory, 0u);
}

TEST_F(FileSourceTest, ALoopOfLinksEnds) {
  std::filesystem::create_directory_symlink(directory_.path(), directory_.Path("loop"));
  directory_.Write("a.yaml", ServiceYaml("a"));
  Start();
  EXPECT_THAT(sink_.Names(), ElementsAre("a"));
}

// From the save until it is delivered. The whole budget is 150 ms at all sidecars.
TEST_F(FileSourceTest, ASaveIsDeliveredSoon) {
  directory_.Write("a.yaml", ServiceYaml("a"));
  Start();
  std::vector<double> times;
  for (int i = 0; i < 50; ++i) {
    const int64_t before = sink_.HashOf("a");
    const auto start = std::chrono::steady_clock::now();
    directory_.Replace("a.yaml", ServiceYaml("a", "default", 1000 + i));
    ASSERT_TRUE(sink_.Wait([&] { return sink_.HashOf("a") != before; }));
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  RecordProperty("p50_ms", std::to_string(times[25]));
  RecordProperty("max_ms", std::to_string(times[49]));
  EXPECT_LT(times[25], 40) << "settle is 5 ms";
}

TEST_F(FileSourceTest, AFloodOfSavesEndsWithTheLast) {
  directory_.Write("a.yaml", ServiceYaml("a"));
  Start();
  for (int i = 0; i < 300; ++i) {
    directory_.Replace("a.yaml", ServiceYaml("a", "default", 2000 + i));
    if (i % 50 == 0) directory_.Write("b" + std::to_string(i) + ".yaml", ServiceYaml("b" + std::to_string(i)));
  }
  directory_.Replace("a.yaml", ServiceYaml("last"));
  EXPECT_TRUE(sink_.Wait([&] { return sink_.objects_.contains("last") && !sink_.objects_.contains("a") && sink_.objects_.size() == 7; }));
}

}  // namespace
}  // namespace weft::ctl
