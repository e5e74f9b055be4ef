#!/usr/bin/env bash
# Trains on this machine's devices under torchrun, which starts a failed group again; clara-train then goes on from
# its newest sound checkpoint. For several nodes set NUM_NODES, and RENDEZVOUS to host:port of one of them.
set -euo pipefail

if (($# < 2)); then
  printf 'usage: [NUM_PROCESSES=8] [NUM_NODES=1] [RENDEZVOUS=host:port] scripts/torchrun.sh STAGE --config FILE [options]\n' >&2
  exit 2
fi
project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
train=${CLARA_TRAIN:-$project/build/release/bin/clara-train}
rendezvous=(--standalone)
if [[ -n ${RENDEZVOUS:-} ]]; then
  rendezvous=(--rdzv-backend c10d --rdzv-endpoint "$RENDEZVOUS" --rdzv-id clara)
fi
exec torchrun --no-python --nnodes "${NUM_NODES:-1}" --nproc-per-node "${NUM_PROCESSES:-8}" \
  --max-restarts "${MAX_RESTARTS:-3}" "${rendezvous[@]}" "$train" "$@"
