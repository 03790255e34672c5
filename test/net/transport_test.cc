#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>

#include "dataplane/buffer/slice_buffer.h"
#include "dataplane/event/loop.h"
#include "dataplane/net/tcp_transport.h"

namespace weft::net {
namespace {

struct Events : Transport::Handler {
  void OnReadable() override {
    ++readable;
    if (on_readable) on_readable();
  }
  void OnWritable() override {
    ++writable;
    if (on_writable) on_writable();
  }
  int readable = 0, writable = 0;
  std::function<void()> on_readable, on_writable;
};

class TransportTest : public ::testing::Test {
 protected:
  TransportTest() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer_ = fds[1];
    transport_ = std::make_unique<TcpTransport>(loop_, fds[0], *Address::FromPath("@peer"));
    transport_->set_handler(&events_);
  }
  ~TransportTest() override {
    transport_.reset();
    if (peer_ >= 0) close(peer_);
    loop_.RunOnce();
  }
  std::string Drain() {
    std::string all;
    char buf[65536];
    for (ssize_t n; (n = recv(peer_, buf, sizeof(buf), 0)) > 0;)
      all.append(buf, static_cast<size_t>(n));
    return all;
  }
  event::Loop loop_;
  buffer::Slab slab_;
  Events events_;
  std::unique_ptr<TcpTransport> transport_;
  int peer_ = -1;
};

TEST_F(TransportTest, FlushWritesAllOrAsksToBeCalled) {
  buffer::SliceBuffer out;
  std::string text(3'000'000, 0);
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 26);
  // More slices than one system call takes.
  for (size_t i = 0; i < text.size(); i += 1000) {
    buffer::BlockRef b = slab_.Get();
    memcpy(b->data(), text.data() + i, 1000);
    out.Append(buffer::Slice(b, b->data(), 1000));
  }
  std::string got;
  size_t written = 0;
  int rc = Flush(*transport_, out, &written);
  ASSERT_EQ(rc, -EAGAIN);
  EXPECT_EQ(out.size() + written, text.size());
  events_.on_writable = [&] { rc = Flush(*transport_, out, &written); };
  for (int i = 0; i < 10000 && (rc == -EAGAIN || got.size() < text.size()); ++i) {
    got += Drain();
    loop_.RunOnce();
  }
  EXPECT_EQ(rc, 0);
  EXPECT_EQ(written, text.size());
  EXPECT_TRUE(got == text);
  int before = events_.writable;
  loop_.RunOnce();
  EXPECT_EQ(events_.writable, before) << "comes once after WantWrite";
}

TEST_F(TransportTest, AGonePeerIsAnErrorAndNoSignal) {
  close(std::exchange(peer_, -1));
  buffer::SliceBuffer out;
  out.AppendCopy(slab_, "x");
  size_t written = 0;
  EXPECT_EQ(Flush(*transport_, out, &written), -EPIPE);
}

TEST_F(TransportTest, WhatIsGivenBackIsReadFirst) {
  auto give_back = [&](std::string_view text) {
    buffer::BlockRef b = slab_.Get();
    memcpy(b->data(), text.data(), text.size());
    transport_->Unread(buffer::Slice(b, b->data(), text.size()));
  };
  std::string got;
  int calls = 0;
  events_.on_readable = [&] {
    if (++calls == 1) return;  // not now: asked again
    char buf[3];
    iovec iov = {buf, sizeof(buf)};
    ssize_t n = transport_->Read(&iov, 1);
    if (n > 0) got.append(buf, static_cast<size_t>(n));
  };
  give_back("hello ");
  ASSERT_EQ(send(peer_, "world", 5, 0), 5);
  for (int i = 0; i < 10000 && got.size() < 11; ++i) loop_.RunOnce(true);
  EXPECT_EQ(got, "hello world");
  // While reading is off it waits.
  transport_->SetReading(false);
  got.clear();
  give_back("again");
  for (int i = 0; i < 3; ++i) loop_.RunOnce();
  EXPECT_EQ(got, "");
  transport_->SetReading(true);
  for (int i = 0; i < 10000 && got.size() < 5; ++i) loop_.RunOnce(true);
  EXPECT_EQ(got, "again");
}

TEST_F(TransportTest, AddressesOfSomebodyElse) {
  transport_->set_addresses(*Address::Parse("1.2.3.4:5"), Address());
  EXPECT_EQ(transport_->peer_address().ToString(), "1.2.3.4:5");
  transport_->set_addresses(Address(), *Address::Parse("6.7.8.9:10"));
  EXPECT_EQ(transport_->peer_address().ToString(), "1.2.3.4:5");
  EXPECT_EQ(transport_->local_address().ToString(), "6.7.8.9:10");
}

TEST_F(TransportTest, WhileReadingIsOffNothingIsReported) {
  ASSERT_EQ(send(peer_, "x", 1, 0), 1);
  transport_->SetReading(false);
  for (int i = 0; i < 3; ++i) loop_.RunOnce();
  EXPECT_EQ(events_.readable, 0);
  transport_->WantWrite();
  loop_.RunOnce();
  EXPECT_EQ(events_.writable, 1);
  EXPECT_EQ(events_.readable, 0);
  transport_->SetReading(true);
  loop_.RunOnce();
  EXPECT_EQ(events_.readable, 1);
}

TEST_F(TransportTest, ReadingTurnedOffInOnWritableHoldsForTheSameEvent) {
  ASSERT_EQ(send(peer_, "x", 1, 0), 1);
  transport_->WantWrite();
  events_.on_writable = [&] { transport_->SetReading(false); };
  loop_.RunOnce();
  EXPECT_EQ(events_.writable, 1);
  EXPECT_EQ(events_.readable, 0);
}

TEST_F(TransportTest, MayBeDestroyedInEitherCallback) {
  ASSERT_EQ(send(peer_, "x", 1, 0), 1);
  transport_->WantWrite();
  events_.on_writable = [&] { transport_.reset(); };
  loop_.RunOnce();
  loop_.RunOnce();
  EXPECT_EQ(events_.writable, 1);
  EXPECT_EQ(events_.readable, 0);
}

}  // namespace
}  // namespace weft::net
