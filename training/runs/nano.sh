#!/usr/bin/env bash
# The recipe of the nano scorer, from a folder of images with a manifest.csv and a folder of pictures that are not
# medical to weights. training/LOG.md says how the shipped weights differ. About three hours on two cores; every step
# goes on where it stopped. Usage: bash training/runs/nano.sh DIR NOT_MEDICAL_DIR
set -euo pipefail
data=$1
pictures=$2
export OMP_NUM_THREADS=1
for worker in 0 1; do
  (
    make="python -m training.synthesize --data $data --not-medical $pictures --out runs/shards --first $worker --step 2"
    $make --split validation --shards 24
    $make --shards 320
  ) &
done
wait
unset OMP_NUM_THREADS
python -m training.calibrate_severity --shards runs/shards
python -m training.train_quality --shards runs/shards --out runs/quality --steps 20000 --minutes 66 --compile \
  --head-epochs 16 --head-samples 9000
