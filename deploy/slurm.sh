#!/usr/bin/env bash
# A sweep on several nodes of a Slurm cluster; see docs/clusters.md.
#
#   sbatch deploy/slurm.sh --data /shared/uw-madison --space paper --out /shared/runs/paper
#
# Whatever follows the script's name goes to `gitract-cv sweep`. Before its time is up the job
# queues itself again; the same command then goes on from where every trial was last saved.
# For one node no cluster is needed: run `gitract-cv sweep` in a job of its own.
#SBATCH --job-name=gitract-cv
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
# `ray symmetric-run` ends every Ray process of the user on its nodes, so they must be ours alone.
#SBATCH --exclusive
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --requeue
# USR1 to this shell (B:), 120 s before the end.
#SBATCH --signal=B:USR1@120
#SBATCH --output=gitract-cv-%j.log
#SBATCH --open-mode=append
set -euo pipefail

if (( SLURM_JOB_NUM_NODES < 2 )); then
  echo "slurm.sh: expected 2 nodes or more, got $SLURM_JOB_NUM_NODES; give sbatch --nodes=2" >&2
  exit 2
fi

# The environment with gitract-cv, at the same place on every node.
export PATH="${GITRACT_VENV:-$SLURM_SUBMIT_DIR/.venv}/bin:$PATH"
# Where each node keeps network-size slices: a disk of its own, where only you can write.
export GITRACT_CACHE="${GITRACT_CACHE:-/tmp/gitract-cache-$USER}"
export RAY_USAGE_STATS_ENABLED=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 # seconds; importing from NFS is slow
# Other users of the cluster's network must not be able to run code as you.
export RAY_AUTH_MODE=token
ray get-auth-token --generate > /dev/null
token="${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"
if [[ -f $token ]]; then chmod 600 "$token"; fi # Ray writes it readable for all

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# The head's name must not resolve to a loopback address there; give its address if it does.
address="${GITRACT_HEAD:-${nodes[0]}}:6379"

requeued=no
# shellcheck disable=SC2329 # the trap calls it
requeue() {
  echo "slurm.sh: time is nearly up; queueing job $SLURM_JOB_ID again"
  requeued=yes
  scontrol requeue "$SLURM_JOB_ID" || echo "slurm.sh: not allowed; run the same sbatch again" >&2
}
trap requeue USR1

srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  --kill-on-bad-exit=1 \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" -- \
  gitract-cv sweep --address "$address" "$@" &
step=$!

code=0
wait "$step" || code=$?
if [[ $requeued == yes ]]; then # the signal ended the wait, not the step; Slurm ends that
  code=0
  wait "$step" || code=$?
fi
exit "$code"
