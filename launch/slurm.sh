#!/bin/bash
# One study on a SLURM cluster, one task a GPU:
#
#     make install                                                               # once, where the nodes can see it
#     sbatch launch/slurm.sh experiments/panacea/figure4.py scale=paper          # as is: one node of 8 GPUs
#     sbatch --gpus-per-node=4 --ntasks-per-node=4 launch/slurm.sh <script> ...  # another number of GPUs
#     sbatch --nodes=2 launch/slurm.sh <script> ...                              # several nodes
#
# What SLURM gives decides hardware.devices and hardware.nodes; everything else is the script's own key=value words.
# Options on sbatch's command line win over the lines below; a cluster may also want --partition and --account there.

#SBATCH --job-name=moa
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
# One process a GPU: the same number as above.
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00

# Three minutes before the time is up, every process is told by SIGUSR1: it saves a checkpoint at the next update, and the
# first one has the job queued again (scontrol requeue). A job that is preempted gets SIGTERM, saves and stops. Either way
# the next start goes on from the checkpoint; what was finished is not done again, and a finished study only says so.
#SBATCH --signal=SIGUSR1@180
#SBATCH --requeue

# One file over all starts of a job: a start that is queued again writes on, instead of over the former.
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append

set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 2
}

[ "$#" -gt 0 ] || fail "a script is needed: sbatch launch/slurm.sh experiments/<paper>/<script>.py [key=value ...]"
[ -n "${SLURM_JOB_ID:-}" ] || fail "this is for SLURM: sbatch launch/slurm.sh $*"

# SLURM runs a copy of this file, so that its own place says nothing: the repository is where sbatch was called.
cd "${SLURM_SUBMIT_DIR:?}"
[ -f "$1" ] || fail "$1: no such script below $PWD; call sbatch in the repository"
python=.venv/bin/python
[ -x "$python" ] || fail "$PWD/$python is missing: make install"

nodes=${SLURM_JOB_NUM_NODES:-1}
devices=${SLURM_NTASKS_PER_NODE:-}
[ -n "$devices" ] || fail "--ntasks-per-node is not set: one task for each GPU of a node"
[ "$devices" = "${SLURM_GPUS_ON_NODE:-$devices}" ] ||
    fail "--ntasks-per-node=$devices on nodes of ${SLURM_GPUS_ON_NODE} GPUs: give both the same number"

# Weights and data sets come from the hub, into HF_HOME (~/.cache/huggingface, if it is not set): a folder that all nodes
# see, with room for what docs/scaling.md lists. Nodes without a network use what was downloaded before. sbatch hands
# the environment on, so both can be set for one job:
#
#     HF_HOME=<folder> HF_HUB_OFFLINE=1 sbatch launch/slurm.sh ...

# bitsandbytes, tokenizers and the data's own work are shared out; without this each process would take all cores.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export TOKENIZERS_PARALLELISM=false

# srun asks anew how many cores a task has. If one process fails the others would wait for it for ever: they are stopped.
exec srun --nodes="$nodes" --ntasks="$((nodes * devices))" --ntasks-per-node="$devices" \
    --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 \
    "$python" "$@" hardware.devices="$devices" hardware.nodes="$nodes"
