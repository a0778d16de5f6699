// mqttctl backup: what is stored, copied while the broker runs.
#include <unistd.h>

#include <CLI/Option.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/backup.pb.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

// A line that grows, on a terminal only.
void ShowProgress(const pb::BackupProgress& progress) {
  constexpr int kWidth = 40;
  if (isatty(STDERR_FILENO) == 0) return;
  const double part = progress.bytes_total() == 0 ? 0
                                                  : static_cast<double>(progress.bytes()) /
                                                        static_cast<double>(progress.bytes_total());
  const int full = static_cast<int>(part * kWidth);
  std::fprintf(
      stderr, "\r[%s%s] %3d %%  %-12s", std::string(static_cast<size_t>(full), '#').c_str(),
      std::string(static_cast<size_t>(kWidth - full), ' ').c_str(), static_cast<int>(part * 100),
      pb::BackupProgress::Phase_Name(progress.phase()).c_str() + 6);
  if (progress.phase() == pb::BackupProgress::PHASE_DONE) std::fputs("\n", stderr);
}

template <typename Request>
absl::Status Run(AdminSession& session, const VerbContext& context, const char* method,
                 const std::string& directory) {
  Request request;
  request.set_directory(directory);
  pb::BackupProgress progress;
  RETURN_IF_ERROR(session.Stream(method, request, progress, [&] {
    ShowProgress(progress);
    return true;
  }));
  if (progress.phase() != pb::BackupProgress::PHASE_DONE)
    return absl::UnavailableError("the broker has not ended it");
  PrintDone(context, absl::StrCat(directory, ": ", progress.bytes(), " bytes, verified\n"),
            progress);
  return absl::OkStatus();
}

}  // namespace

void AddBackupVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "backup", "What is stored, copied while the broker runs");
  const auto made = std::make_shared<std::string>();
  CLI::App& create = context.AddVerb(
      noun, "create",
      "Makes a backup in a directory of the broker's machine, as of one moment, and verifies it.\n"
      "To restore it: mqttd --restore DIRECTORY --data-dir EMPTY\n\n"
      "Example: mqttctl backup create $PWD/monday",
      [&context, made](AdminSession& session) {
        return Run<pb::CreateBackupRequest>(session, context, "Backup/Create", *made);
      });
  create.add_option("directory", *made, "An absolute path, at which there is nothing")->required();
  const auto verified = std::make_shared<std::string>();
  CLI::App& verify = context.AddVerb(
      noun, "verify",
      "Reads a backup and compares the checksums.\n\nExample: mqttctl backup verify $PWD/friday",
      [&context, verified](AdminSession& session) {
        return Run<pb::VerifyBackupRequest>(session, context, "Backup/Verify", *verified);
      });
  verify.add_option("directory", *verified, "An absolute path on the broker's machine")->required();
}

}  // namespace mqttctl
