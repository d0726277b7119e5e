# shellcheck shell=bash
# What every script here sources, with HERE set: the cluster named by its arguments, and all that can be done to it.
# shellcheck source-path=SCRIPTDIR
PORTOLAN_CLUSTER=${PORTOLAN_CLUSTER:-${TMPDIR:-/tmp}/portolan-kind}
for file in arguments process cgroups; do . "$HERE/../cluster/lib/$file.sh"; done
for file in layout docker nodes create pods static-pods restart; do . "$HERE/lib/$file.sh"; done
