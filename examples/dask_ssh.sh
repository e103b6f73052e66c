#!/usr/bin/env bash
# One campaign on the cores of several machines: a Dask scheduler here, a worker for each core there, until it is done.
#
#     bash examples/tls.sh tls && . tls/settings.sh     # and tls at the same path on the hosts
#     export SCHEDULER=tls://10.0.0.1:8786 HOSTS="node1 node2"
#     bash examples/dask_ssh.sh inject model.onnx --data npz:test.npz --rate 1e-6 --results results
#
# What stands behind the script is a command of ftonnx that takes --engine dask. SCHEDULER is an address of this machine
# that the hosts reach, DASK the command on the hosts, if it is not in their PATH, and WORKERS a number for each of them.
# What scheduler and workers say, and ssh, is in dask.log.
set -euo pipefail
quiet=(--no-dashboard --dashboard-address 127.0.0.1:0) # pages about the cluster, for which nobody is asked who he is

set -m # Ctrl-C is for the command alone, which finishes the units in work
dask scheduler --host "$SCHEDULER" "${quiet[@]}" >dask.log 2>&1 &
trap 'kill %1 && wait' EXIT # workers end with their scheduler

mapfile -t settings < <(env | grep ^DASK_) # ssh takes none along
for host in $HOSTS; do
    worker=("${DASK:-dask}" worker "$SCHEDULER" --nthreads 1 "--nworkers=${WORKERS:--1}" "${quiet[@]}" --death-timeout 60)
    ssh -n "$host" "$(printf '%q ' env "${settings[@]}" "${worker[@]}")" >>dask.log 2>&1 &
done
set +m

ftonnx "$@" --engine dask --scheduler "$SCHEDULER"
