#include "admin/ask_password.h"

#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

namespace mqttctl {

absl::StatusOr<std::string> AskPassword() {
  const auto line = [](const char* prompt) {
    std::string text;
    if (prompt != nullptr) std::fputs(prompt, stderr);
    std::getline(std::cin, text);
    return text;
  };
  std::string password;
  if (isatty(STDIN_FILENO) == 0) {
    password = line(nullptr);
  } else {
    termios seen{};
    tcgetattr(STDIN_FILENO, &seen);
    termios unseen = seen;
    unseen.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &unseen);
    password = line("Password: ");
    const std::string again = line("\nOnce more: ");
    std::fputs("\n", stderr);
    tcsetattr(STDIN_FILENO, TCSANOW, &seen);
    if (again != password) return absl::InvalidArgumentError("these are two passwords");
  }
  if (password.empty()) return absl::InvalidArgumentError("a password is not empty");
  return password;
}

}  // namespace mqttctl
