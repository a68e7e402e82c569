#!/usr/bin/env bash
# The recipe of the nano scorer, from a folder of images with a manifest.csv to weights. The shipped weights had less:
# training/LOG.md says what. Two to three hours on two cores; every
# step goes on where it stopped. Usage: bash training/runs/nano.sh DIR
set -euo pipefail
data=$1
export OMP_NUM_THREADS=1
for worker in 0 1; do
  (
    python -m training.synthesize --data "$data" --out runs/shards --split validation --shards 14 --first $worker --step 2
    python -m training.synthesize --data "$data" --out runs/shards --shards 320 --first $worker --step 2
  ) &
done
wait
unset OMP_NUM_THREADS
python -m training.train_quality --shards runs/shards --out runs/quality --steps 20000 --minutes 60 --compile --head-epochs 16
