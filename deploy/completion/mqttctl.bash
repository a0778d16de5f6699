# Completion of mqttctl for bash. Commands and flags come from `mqttctl [COMMAND] --help` of the program
# that is called.
_mqttctl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
  if ((COMP_CWORD == 1)); then
    words=$("${COMP_WORDS[0]}" --help 2>/dev/null |
      awk '/^Subcommands:/ { commands = 1; next } commands && $1 { print $1 } /^  --/ { print $1 }')
  elif [[ $current == -* ]]; then
    words=$("${COMP_WORDS[0]}" "${COMP_WORDS[1]}" --help 2>/dev/null |
      awk '/^  -/ { gsub(",", " ", $1); print $1 }')
  elif [[ $previous == --ca* || $previous == --cert || $previous == --key || $previous == -f ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _mqttctl mqttctl
