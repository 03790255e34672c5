#include "dataplane/observe/access_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/observe/response_flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace weft::observe {
namespace {

using testing::HasSubstr;

class AccessLogTest : public testing::Test {
 protected:
  AccessLogTest() {
    char name[] = "/tmp/weft_access_log_XXXXXX";
    dir = mkdtemp(name);
    path = dir + "/access.log";
  }
  ~AccessLogTest() override {
    std::string command = "rm -rf " + dir;
    EXPECT_EQ(system(command.c_str()), 0);
  }
  static std::string Read(const std::string& p) {
    std::ifstream in(p);
    std::stringstream s;
    s << in.rdbuf();
    return s.str();
  }

  std::string dir, path;
};

TEST_F(AccessLogTest, LinesOfOneWorkerInOrder) {
  AccessLogs logs;
  LogWriter* w = (*logs.Open(path))->NewWriter();
  w->Write("one\n");
  w->Write("two\n");
  logs.Flush();
  EXPECT_EQ(Read(path), "one\ntwo\n");
  w->Write("three\n");
  logs.Flush();
  EXPECT_EQ(Read(path), "one\ntwo\nthree\n");
}

TEST_F(AccessLogTest, AppendsToWhatIsThere) {
  std::ofstream(path) << "before\n";
  {
    AccessLogs logs;
    (*logs.Open(path))->NewWriter()->Write("after\n");
  }
  EXPECT_EQ(Read(path), "before\nafter\n") << "and the destructor writes what is left";
}

TEST_F(AccessLogTest, IsInTheFileSoonWithoutFlush) {
  AccessLogs logs;
  (*logs.Open(path))->NewWriter()->Write("line\n");
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (Read(path).empty() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(Read(path), "line\n");
}

TEST_F(AccessLogTest, SamePathIsOneFile) {
  AccessLogs logs;
  EXPECT_EQ(*logs.Open(path), *logs.Open(path));
  EXPECT_NE(*logs.Open(path), *logs.Open(path + "2"));
}

TEST_F(AccessLogTest, OpenErrorsSayWhichAndWhy) {
  AccessLogs logs;
  absl::StatusOr<AccessLogFile*> file = logs.Open(dir + "/none/access.log");
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(std::string(file.status().message()), HasSubstr(dir + "/none/access.log: No such file or directory"));
  EXPECT_FALSE(logs.Open("").ok());
}

TEST_F(AccessLogTest, ReopenFollowsRotation) {
  AccessLogs logs;
  LogWriter* w = (*logs.Open(path))->NewWriter();
  w->Write("old\n");
  logs.Flush();
  ASSERT_EQ(rename(path.c_str(), (path + ".1").c_str()), 0);
  w->Write("still old\n");
  logs.Flush();
  EXPECT_EQ(Read(path + ".1"), "old\nstill old\n");
  logs.Reopen();
  w->Write("new\n");
  logs.Flush();
  EXPECT_EQ(Read(path), "new\n");
  EXPECT_EQ(Read(path + ".1"), "old\nstill old\n");
}

TEST_F(AccessLogTest, FailedReopenKeepsTheOldFile) {
  AccessLogs logs;
  LogWriter* w = (*logs.Open(path))->NewWriter();
  ASSERT_EQ(rename(path.c_str(), (path + ".1").c_str()), 0);
  ASSERT_EQ(mkdir(path.c_str(), 0755), 0);  // can't be opened for writing
  logs.Reopen();
  w->Write("line\n");
  logs.Flush();
  EXPECT_EQ(Read(path + ".1"), "line\n");
}

TEST_F(AccessLogTest, ManyWorkersNeverMixLines) {
  constexpr int kWorkers = 4, kLines = 20000;
  {
    AccessLogs logs;
    AccessLogFile* file = *logs.Open(path);
    std::vector<std::thread> threads;
    for (int i = 0; i < kWorkers; ++i) {
      LogWriter* w = file->NewWriter();
      threads.emplace_back([w, i] {
        for (int n = 0; n < kLines; ++n) {
          std::string line(static_cast<size_t>(1 + n % 60), static_cast<char>('a' + i));
          w->Write(line + " " + std::to_string(n) + "\n");
          if (n % 1000 == 999) std::this_thread::yield();
        }
      });
    }
    for (std::thread& t : threads) t.join();
    logs.Flush();
    EXPECT_EQ(file->lines_dropped(), 0u);
    EXPECT_EQ(file->bytes_failed(), 0u);
  }
  std::ifstream in(path);
  std::string line;
  int next[kWorkers] = {0};
  while (std::getline(in, line)) {
    int i = line[0] - 'a';
    ASSERT_TRUE(i >= 0 && i < kWorkers) << line;
    size_t text = static_cast<size_t>(1 + next[i] % 60);
    ASSERT_EQ(line, std::string(text, line[0]) + " " + std::to_string(next[i]));
    ++next[i];
  }
  for (int n : next) EXPECT_EQ(n, kLines);
}

TEST_F(AccessLogTest, ALineLongerThanAChunk) {
  AccessLogs logs;
  AccessLogFile* file = *logs.Open(path);
  LogWriter* w = file->NewWriter();
  const std::string big = std::string(200 * 1024, 'x') + "\n";
  w->Write("a\n");
  w->Write(big);
  w->Write("b\n");
  logs.Flush();
  EXPECT_EQ(Read(path), "a\n" + big + "b\n");
}

// A pipe that nobody reads: the worker goes on, lines are dropped and counted, and what was queued comes out later.
TEST_F(AccessLogTest, StalledReaderNeverBlocksTheWorker) {
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  int reader = open(path.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  AccessLogs logs;
  AccessLogFile* file = *logs.Open(path);
  LogWriter* w = file->NewWriter();
  const std::string line = std::string(1023, 'x') + "\n";
  auto begin = std::chrono::steady_clock::now();
  constexpr int kLines = 20000;  // 20 MB, more than may be queued
  for (int i = 0; i < kLines; ++i) w->Write(line);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  const uint64_t dropped = file->lines_dropped();
  EXPECT_GT(dropped, 1000u);
  EXPECT_LT(dropped, static_cast<uint64_t>(kLines));
  uint64_t lines = 0;
  char buf[64 * 1024];
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (lines < kLines - dropped && std::chrono::steady_clock::now() < end) {
    ssize_t n = read(reader, buf, sizeof(buf));
    if (n <= 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    for (ssize_t i = 0; i < n; ++i) lines += buf[i] == '\n';
  }
  EXPECT_EQ(lines, kLines - dropped);
  close(reader);
}

TEST_F(AccessLogTest, WriteErrorsAreCounted) {
  AccessLogs logs;
  AccessLogFile* file = *logs.Open("/dev/full");
  file->NewWriter()->Write("12345\n");
  logs.Flush();
  EXPECT_EQ(file->bytes_failed(), 6u);
  EXPECT_EQ(file->bytes_written(), 0u);
}

TEST_F(AccessLogTest, SpecAndWorkerLogs) {
  EXPECT_FALSE(AccessLogSpec::Compile("", "").ok());
  absl::StatusOr<std::shared_ptr<const AccessLogSpec>> bad = AccessLogSpec::Compile(path, "%NOPE%");
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(std::string(bad.status().message()), HasSubstr("format: %NOPE% at byte 0: unknown command"));

  std::shared_ptr<const AccessLogSpec> standard = *AccessLogSpec::Compile(path, "");
  std::shared_ptr<const AccessLogSpec> own = *AccessLogSpec::Compile(path, "%RESPONSE_CODE% %RESPONSE_FLAGS%\n");
  AccessLogs logs;
  WorkerLogs worker(&logs);
  LogFields fields;
  fields.response_code = 503;
  fields.response_flags = Bit(ResponseFlag::kNoHealthyUpstream);
  EXPECT_TRUE(worker.Log(*own, fields));
  EXPECT_TRUE(worker.Log(*standard, fields));
  EXPECT_FALSE(worker.Log(**AccessLogSpec::Compile(dir + "/none/x", ""), fields));
  logs.Flush();
  EXPECT_EQ(Read(path), "503 UH\n[1970-01-01T00:00:00.000Z] \"- - -\" 503 UH 0 0 - - \"-\" \"-\" \"-\" \"-\" \"-\"\n");
}

}  // namespace
}  // namespace weft::observe
