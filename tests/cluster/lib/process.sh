# shellcheck shell=bash
# Starting and ending programs by process id. RUNDIR/run/NAME.pid holds the id; NAME.start beside it holds when that process
# began, so that an id that has meanwhile gone to somebody else is never signalled.

# (8 is the lock of `up` and `down`, which must not live on in what they start.)

began() { # PID: the time when it started, in ticks since boot; fails when it is gone or a zombie
  local stat
  { read -r stat < "/proc/$1/stat"; } 2>/dev/null || return 1
  stat=${stat##*) } # behind the name, which may hold blanks
  # shellcheck disable=SC2086
  set -- $stat
  [ "$1" != Z ] && echo "${20}"
}

pid_of() { # NAME: its process id, if it is running
  local pid
  { read -r pid < "$RUN/$1.pid"; } 2>/dev/null || return 1
  [ "$(began "$pid")" = "$(cat "$RUN/$1.start" 2>/dev/null)" ] && echo "$pid"
}

record() { # NAME PID
  began "$2" > "$RUN/$1.start" || return 1
  echo "$2" > "$RUN/$1.pid"
}

spawn() { # NAME COMMAND…: in the background, in a session of its own, with its output in RUNDIR/log/NAME.log
  local name=$1
  shift
  setsid "$@" >>"$LOG/$name.log" 2>&1 </dev/null 8>&- &
  disown $! # bash need not report how it ends
  record "$name" $! || failed "$name" "ended at once"
}

child_of() { # PID: its first child, waited for
  local child= try
  for ((try = 0; try < 100; try++)); do
    read -r child _ < "/proc/$1/task/$1/children" 2>/dev/null || true
    [ -n "$child" ] && { echo "$child"; return; }
    sleep 0.02
  done
  return 1
}

spawn_child() { # NAME COMMAND…: as spawn, where the command forks into a pid namespace and the program is its child
  local name=$1 child
  shift
  setsid "$@" >>"$LOG/$name.log" 2>&1 </dev/null 8>&- &
  disown $!
  child=$(child_of $!) && record "$name" "$child" || failed "$name" "ended at once"
}

gone() { # PID [SECONDS]: waits until it has ended
  local deadline=$((SECONDS + ${2:-10}))
  while began "$1" >/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.02
  done
}

end() { # NAME [SIGNAL]: signals it; for signals that end a program, waits until it is gone
  local pid
  pid=$(pid_of "$1") || return 0
  kill -s "${2:-KILL}" "$pid" 2>/dev/null || return 0
  case ${2:-KILL} in KILL | TERM | INT) gone "$pid" 30 ;; esac
}

failed() { # NAME WHY: says so with the end of its log, and ends the script
  {
    echo "$1: $2"
    tail -n 25 "$LOG/$1.log" 2>/dev/null | sed "s/^/  $1: /"
  } >&2
  exit 1
}
