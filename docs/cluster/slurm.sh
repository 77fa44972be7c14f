#!/bin/bash
#SBATCH --job-name=paredown
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=08:00:00
#SBATCH --requeue
# A study on the nodes of this job; submitted or requeued again, it goes on where it stopped.
set -euo pipefail

cd "$SLURM_SUBMIT_DIR"
source .venv/bin/activate

head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$PWD/.ray_token" RAY_USAGE_STATS_ENABLED=0
[ -f "$RAY_AUTH_TOKEN_PATH" ] || (umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH")

# Ray starts on every node; the command after -- runs on the first one, and all end with it.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
  ray symmetric-run --address "$head_node:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" -- \
  paredown search --config-dir my_conf task=mine trials=1000 timeout=28000 executor=ray executor.address=auto
