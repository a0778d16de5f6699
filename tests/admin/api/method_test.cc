#include "admin/api/method.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "mqttd/admin/v1/messages.pb.h"

namespace admin {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(RequestInWords, LeavesOutWhatAMessageCarries) {
  pb::PublishRequest request;
  pb::Message& message = *request.mutable_message();
  message.set_topic("door/code");
  message.set_payload("4711");
  message.set_correlation_data("0815");
  pb::UserProperty& property = *message.add_user_properties();
  property.set_name("pin");
  property.set_value("1234");
  const std::string words = RequestInWords(request);
  EXPECT_THAT(words, HasSubstr("door/code"));
  EXPECT_THAT(words, HasSubstr("payload: \"(4 bytes)\""));
  for (const char* const secret : {"4711", "0815", "pin", "1234"})
    EXPECT_THAT(words, Not(HasSubstr(secret)));
}

}  // namespace
}  // namespace admin
