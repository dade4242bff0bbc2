#!/usr/bin/env bash
#SBATCH --job-name={{ name }}
#SBATCH --nodes={{ slurm.nodes }}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={{ slurm.cpus }}
{% if slurm.gpus %}
#SBATCH --gpus-per-node={{ slurm.gpus }}
{% endif %}
{% if slurm.memory_gb %}
#SBATCH --mem={{ slurm.memory_gb }}G
{% endif %}
#SBATCH --time={{ slurm.time }}
{% if slurm.partition %}
#SBATCH --partition={{ slurm.partition }}
{% endif %}
{% if slurm.account %}
#SBATCH --account={{ slurm.account }}
{% endif %}
{% if runs|length > 1 %}
#SBATCH --array=0-{{ runs|length - 1 }}%{{ slurm.at_once }}
{% endif %}
# Before the time limit Slurm sends SIGUSR1 to this script, which stops the run and queues it again.
#SBATCH --requeue
#SBATCH --signal=B:USR1@{{ slurm.stop_seconds }}
#SBATCH --open-mode=append
#SBATCH --output={{ log }}
{% for option in slurm.options %}
#SBATCH {{ option }}
{% endfor %}
#
# {{ name }}: starts Ray on all nodes of the allocation, runs `fld run` on it, and ends both.
# What is done stays done: a job that starts again goes on where it was.

set -euo pipefail
{% for line in slurm.setup %}
{{ line }}
{% endfor %}

python=({{ python }})
folder={{ folder }}
files="$folder/{{ name }}-$SLURM_JOB_ID"
rights=$(umask)
umask 077
mkdir -p "$folder"

{% for run in runs %}
settings_{{ loop.index0 }}() {
  cat <<'{{ end }}'
{{ run.settings }}
{{ end }}
}
{% endfor %}
"settings_${SLURM_ARRAY_TASK_ID:-0}" > "$files.yaml"

# A token of this job alone. It lies in a file that only the user can read, on every node.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$files.token"
# Ray tells nobody what it is used for.
export RAY_USAGE_STATS_ENABLED=0
unset RAY_AUTH_TOKEN RAY_ADDRESS
rm -f "$files.token"
od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$files.token"
# New files have the user's usual rights from here on: the labels are no secret.
umask "$rights"

steps=() driver= stopped=
finish() {
  # Ends Ray on all nodes: srun ends its step, with every process that belongs to it.
  for step in "${steps[@]}"; do kill -TERM "$step" 2>/dev/null || true; done
  for step in "${steps[@]}"; do wait "$step" 2>/dev/null || true; done
  rm -f "$files.token"
}
trap finish EXIT

stop() {
  stopped=$1
  # The run stops as on SIGTERM: what is published stays, and the work folder is free again.
  if [ -n "$driver" ]; then kill -TERM "$driver" 2>/dev/null || true; fi
}
trap 'stop requeue' USR1
trap 'stop end' TERM INT

start_ray() {
  srun --overlap --ntasks="$1" --nodes="$1" --cpus-per-task={{ slurm.cpus }} "${@:2}" \
    --num-cpus={{ slurm.cpus }} --num-gpus={{ slurm.gpus }} --disable-usage-stats --block &
  steps+=($!)
}

# Ports that differ between jobs, as two of them may share a node.
port=$((20000 + SLURM_JOB_ID % 10000))
ip=$(hostname -I | awk '{print $1}')
ip=${ip:-127.0.0.1}
ray=("${python[@]}" -m ray.scripts.scripts start)
# The dashboard listens on loopback only. Everything else asks for the token.
start_ray 1 --nodelist="$SLURMD_NODENAME" "${ray[@]}" --head --node-ip-address="$ip" \
  --port=$port --dashboard-host=127.0.0.1 --dashboard-port=$((port + 10000)) \
  --ray-client-server-port=$((port + 20000)) --dashboard-agent-listen-port=$((port + 30000))
for _ in {1..120}; do
  if (exec 3<>"/dev/tcp/$ip/$port") 2>/dev/null; then break; fi
  if ! kill -0 "${steps[0]}" 2>/dev/null; then echo "fld: Ray's head did not start" >&2; exit 1; fi
  sleep 1
done
{% if slurm.nodes > 1 %}
start_ray {{ slurm.nodes - 1 }} --exclude="$SLURMD_NODENAME" "${ray[@]}" --address="$ip:$port"
{% endif %}

code=143
if [ -z "$stopped" ]; then
  {{ command }} cluster.address="$ip:$port" cluster.nodes={{ slurm.nodes }} &
  driver=$!
  # A signal ends `wait` early, so wait until the run has ended, and then for its exit code.
  while kill -0 "$driver" 2>/dev/null; do wait "$driver" || true; done
  code=0
  wait "$driver" || code=$?
fi

if [ "$stopped" = requeue ] && [ "$code" != 0 ]; then
  trap '' TERM
  finish
  trap - EXIT
  echo "fld: stopped; the job goes back to the queue and goes on from here" >&2
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$code"
