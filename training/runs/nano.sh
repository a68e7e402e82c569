#!/usr/bin/env bash
# From a folder of images with a manifest.csv and a folder of pictures that are not medical to a first nano scorer: shards,
# severity table (written into the package), tower, head, statistics' networks, calibration. About three hours on two
# cores; every step goes on where it stopped. Third opinion, gate, volume head, restorer and describer follow after the
# README's section on training; training/LOG.md says how the shipped weights differ.
# Usage: bash training/runs/nano.sh DIR NOT_MEDICAL_DIR
set -euo pipefail
data=$1
pictures=$2
export OMP_NUM_THREADS=1
workers=()
for worker in 0 1; do
  (
    make=(python -m training.synthesize --data "$data" --not-medical "$pictures" --out runs/shards --first "$worker" --step 2)
    "${make[@]}" --split validation --shards 24
    "${make[@]}" --shards 320
  ) &
  workers+=("$!")
done
for worker in "${workers[@]}"; do wait "$worker"; done # a plain wait forgets a failure
unset OMP_NUM_THREADS
python -m training.calibrate_severity --shards runs/shards
python -m training.train_quality --shards runs/shards --out runs/quality --steps 20000 --minutes 66 \
  --head-epochs 16 --head-samples 9000
