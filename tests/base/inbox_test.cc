#include "base/inbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace base {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Inbox, GivesWhatHasComeInOrder) {
  Inbox<int> inbox;
  EXPECT_THAT(inbox.Take(), IsEmpty());
  inbox.Post(1);
  inbox.Post(2);
  EXPECT_TRUE(inbox.Sleep(absl::InfiniteDuration())) << "something is there";
  EXPECT_THAT(inbox.Take(), ElementsAre(1, 2));
  EXPECT_TRUE(inbox.Sleep(absl::ZeroDuration()));
}

TEST(Inbox, WhatComesEndsTheSleep) {
  Inbox<int> inbox;
  std::vector<int> taken;
  std::thread thread([&] {
    do {
      for (const int input : inbox.Take()) taken.push_back(input);
    } while (inbox.Sleep(absl::InfiniteDuration()));
    for (const int input : inbox.Take()) taken.push_back(input);
  });
  std::vector<int> sent;
  for (int i = 0; i < 1000; ++i) {
    inbox.Post(i);
    sent.push_back(i);
  }
  inbox.Stop();
  thread.join();
  EXPECT_EQ(taken, sent);
}

TEST(Inbox, StoppedBeforeItSleepsItDoesNot) {
  Inbox<int> inbox;
  inbox.Stop();
  EXPECT_FALSE(inbox.Sleep(absl::InfiniteDuration()));
  EXPECT_FALSE(inbox.Sleep(absl::InfiniteDuration())) << "for good";
}

}  // namespace
}  // namespace base
