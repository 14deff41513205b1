#!/bin/sh
# demo.sh FILE: the app of `build.sh run`. Shows its configuration at start and at each SIGHUP, ends at SIGTERM.
file=$1
show() {
  echo "app: $1, my configuration is:"
  while IFS= read -r line; do echo "app:   $line"; done <"$file"
  echo "app: ready"
}
trap 'show "reloaded"' HUP
trap 'echo "app: bye"; kill "$!"; exit 0' TERM
sleep 86400 &
show "started"
# A signal ends `wait`, not the sleep.
while kill -0 "$!" 2>/dev/null; do wait "$!"; done
