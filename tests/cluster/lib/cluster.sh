# shellcheck shell=bash
# What every script here sources, with HERE set: the cluster named by its arguments, and all that can be done to it.
# shellcheck source-path=SCRIPTDIR
for file in arguments layout process network credentials api cgroups node objects parts chart cleanup; do . "$HERE/lib/$file.sh"; done

