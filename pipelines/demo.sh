#!/bin/sh
# The main job on scikit-learn's handwritten digits, start to end, in a folder of its own.
set -eu
here="$(pwd)/.dataprune/demo"
rm -rf "$here"
mkdir -p "$here"
cd "$here"
echo "== score 1,797 digits with 10 seeds on Ray"
dataprune score digits --seeds 10 --runner ray --out scores.parquet
echo "== prune to the hardest 50 %, with a random control of the same class counts"
dataprune prune scores.parquet --keep 50% --by el2n --name digits --tag v1 --control
echo "== load it by tag"
dataprune load digits v1
echo "== retrain on it, on random rows and on everything, 3 seeds each"
dataprune evaluate digits v1 --seeds 3
