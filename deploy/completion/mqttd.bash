# Completion of mqttd for bash. The flags come from `mqttd --help-all` of the program that is called,
# so they are always its own.
_mqttd() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} help
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  help=$("${COMP_WORDS[0]}" --help-all 2>/dev/null) || return
  case $previous in
  --config | *-file | *-dir)
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    ;;
  --set)
    compopt -o nospace 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --print-config 2>/dev/null |
      awk '/^[a-z_]+:/ { sub(/:.*/, ""); top = $0 } /^  [a-z_]+:/ { sub(/:.*/, ""); print top "." $1 "=" }')" -- "$current")
    ;;
  *)
    if [[ $current == -* ]]; then
      mapfile -t COMPREPLY < <(compgen -W "$(grep -oE '^  --[a-z0-9-]+(, --[a-z-]+)?' <<<"$help" |
        tr -d ,)" -- "$current")
    else
      # (sync, interval, none) behind a flag's text are its values.
      mapfile -t COMPREPLY < <(compgen -W "$(awk -v flag="$previous" '
        /^  --/ { mine = $1 == flag; text = "" }
        mine { text = text " " $0 }
        mine && match(text, /\([a-z0-9_.]+(, +[a-z0-9_.]+)+\)$/) {
          values = substr(text, RSTART + 1, RLENGTH - 2); gsub(",", " ", values); print values
        }' <<<"$help")" -- "$current")
    fi
    ;;
  esac
}
complete -F _mqttd mqttd
