// mqttctl completion: what a shell offers at the Tab key, made from the commands themselves.
#include <CLI/Option.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

// What may follow the words of a command.
struct Place {
  std::string words;  // "", "client", "client list".
  std::vector<std::string> commands;
  std::vector<std::string> helps;  // Of these.
  std::vector<std::string> options;
};

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

void AddPlaces(const CLI::App& app, const std::string& words, std::vector<Place>& places) {
  Place place{.words = words};
  for (const CLI::App* const command : app.get_subcommands([](const CLI::App*) { return true; })) {
    place.commands.push_back(command->get_name());
    place.helps.push_back(FirstLine(command->get_description()));
  }
  for (const CLI::Option* const option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) place.options.push_back("--" + name);
  }
  places.push_back(std::move(place));
  for (const CLI::App* const command : app.get_subcommands([](const CLI::App*) { return true; }))
    AddPlaces(*command, absl::StrCat(words, words.empty() ? "" : " ", command->get_name()), places);
}

// bash, and zsh by its bashcompinit.
std::string ForBash(const std::vector<Place>& places) {
  std::string out =
      "_mqttctl() {\n"
      "  local path=\"\" word offers global\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    [[ $word == -* ]] || path=\"${path:+$path }$word\"\n"
      "  done\n";
  absl::StrAppend(&out, "  global=\"", absl::StrJoin(places.front().options, " "), "\"\n");
  absl::StrAppend(&out, "  while :; do\n    case \"$path\" in\n");
  for (const Place& place : places) {
    absl::StrAppend(&out, "      \"", place.words, "\") offers=\"",
                    absl::StrJoin(place.commands, " "), place.commands.empty() ? "" : " ",
                    absl::StrJoin(place.options, " "), "\"; break ;;\n");
  }
  absl::StrAppend(
      &out,
      "      *\\ *) path=\"${path% *}\" ;;\n"
      "      *) path=\"\" ;;\n"
      "    esac\n  done\n"
      "  COMPREPLY=($(compgen -W \"$offers $global\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
      "  [[ ${COMP_WORDS[COMP_CWORD]} == -* || ${#COMPREPLY[@]} -gt 0 ]] || "
      "compopt -o default 2>/dev/null\n"
      "}\ncomplete -F _mqttctl mqttctl\n");
  return out;
}

std::string ForFish(const std::vector<Place>& places) {
  const auto quoted = [](const std::string& text) {
    return absl::StrCat("'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
  };
  std::string out;
  for (const Place& place : places) {
    const std::string seen =
        place.words.empty()
            ? "__fish_use_subcommand"
            : absl::StrCat(
                  "__fish_seen_subcommand_from ",
                  absl::StrReplaceAll(place.words, {{" ", "; and __fish_seen_subcommand_from "}}));
    for (size_t i = 0; i < place.commands.size(); ++i) {
      const std::string none_yet = place.words.empty()
                                       ? ""
                                       : absl::StrCat("; and not __fish_seen_subcommand_from ",
                                                      absl::StrJoin(place.commands, " "));
      absl::StrAppend(&out, "complete -c mqttctl -f -n ", quoted(seen + none_yet), " -a ",
                      place.commands[i], " -d ", quoted(place.helps[i]), "\n");
    }
    for (const std::string& option : place.options) {
      absl::StrAppend(&out, "complete -c mqttctl -n ",
                      place.words.empty() ? quoted("true") : quoted(seen), " -l ", option.substr(2),
                      "\n");
    }
  }
  return out;
}

absl::Status Complete(const CLI::App& app, const VerbContext& context, const std::string& shell) {
  std::vector<Place> places;
  AddPlaces(app, "", places);
  if (shell == "fish") {
    context.Print(ForFish(places));
  } else {
    context.Print(absl::StrCat(
        shell == "zsh" ? "#compdef mqttctl\nautoload -U +X bashcompinit && bashcompinit\n" : "",
        ForBash(places)));
  }
  return absl::OkStatus();
}

}  // namespace

void AddCompletion(CLI::App& app, VerbContext& context) {
  const auto shell = std::make_shared<std::string>();
  CLI::App& verb = context.AddLocalVerb(
      app, "completion",
      "Prints what a shell needs for completion: source <(mqttctl completion bash)\n\n"
      "Example: mqttctl completion bash",
      [&app, &context, shell] { return Complete(app, context, *shell); });
  verb.add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

}  // namespace mqttctl
