#!/usr/bin/env bash
# A sweep on several nodes of a Slurm cluster; see docs/clusters.md.
#
#   sbatch deploy/slurm.sh --data /shared/uw-madison --space paper --out /shared/runs/paper
#
# Whatever follows the script's name goes to `gitract-cv sweep`. Before its time is up running trials
# save where they are and the job queues itself again; the same command then goes on from there.
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
# USR1 to this shell (B:), 120 s before the end: time for `sweep --grace` (30 s) and for Ray's end.
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

# SIGTERM must reach the sweep alone: trials save their state, for which Ray has to live. This shell
# runs on the first node, as the sweep does.
pid_file="$(mktemp)"
trap 'rm -f "$pid_file"' EXIT
step='' requeued=no ended=no
# shellcheck disable=SC2329 # traps call it
end_sweep() {
  ended=yes
  if [[ -s $pid_file ]]; then
    kill -TERM "$(< "$pid_file")" || true # it may have ended just now
  elif [[ -n $step ]]; then
    kill -TERM "$step" || true # nothing has begun
  fi
}
# shellcheck disable=SC2329 # the trap calls it
requeue() {
  echo "slurm.sh: time is nearly up; trials save their state, then job $SLURM_JOB_ID is queued again"
  requeued=yes
  end_sweep
}
trap requeue USR1
trap end_sweep TERM # preempted, or ended by scancel --batch

# shellcheck disable=SC2016 # the inner shell expands them
note_pid='echo $$ > "$0"; exec "$@"'
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  --kill-on-bad-exit=1 \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" -- \
  bash -c "$note_pid" "$pid_file" gitract-cv sweep --address "$address" "$@" &
step=$!

code=0
wait "$step" || code=$?
if [[ $ended == yes ]]; then # the signal ended the wait, not the step
  for (( left = 90; left > 0; left-- )); do # the job must be queued again before its time is up
    kill -0 "$step" 2> /dev/null || break
    sleep 1
  done
  if [[ $requeued == yes ]]; then
    scontrol requeue "$SLURM_JOB_ID" \
      || echo "slurm.sh: not allowed to requeue; run the same sbatch again" >&2
  fi
  code=0
  wait "$step" || code=$?
fi
exit "$code"
