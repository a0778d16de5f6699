// What a benchmark shows while it runs: on a terminal a picture that is drawn over, else lines.
#ifndef CMD_MQTTCTL_PICTURE_H_
#define CMD_MQTTCTL_PICTURE_H_

#include <string>
#include <vector>

namespace mqttctl {

// On stderr, so that what is printed at the end stands alone on stdout.
class Picture {
 public:
  explicit Picture(bool quiet);
  ~Picture() { Clear(); }

  bool is_terminal() const { return terminal_; }
  // On a terminal these take the place of the last ones; else they are joined into one line.
  void Show(const std::vector<std::string>& lines);
  // Takes the picture away.
  void Clear();

  // "[######--------]  42 %"
  static std::string Bar(double share);

 private:
  const bool quiet_;
  const bool terminal_;
  size_t shown_ = 0;
};

// "12,345", and "0.42 ms" with three digits that count.
std::string Grouped(double number);
std::string Milliseconds(double ms);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_PICTURE_H_
