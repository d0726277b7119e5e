# shellcheck shell=bash
# Every script takes its cluster as a leading `--dir RUNDIR`, else from $PORTOLAN_CLUSTER. What follows stays in REST.
RUNDIR=${PORTOLAN_CLUSTER:-${TMPDIR:-/tmp}/portolan-cluster}
if [ "${1:-}" = --dir ]; then
  RUNDIR=${2:?--dir needs a folder}
  shift 2
fi
REST=("$@")
RUNDIR=$(realpath -m "$RUNDIR")
