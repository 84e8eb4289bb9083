#!/usr/bin/env bash
# Learns the commonest word of a text: an algorithm in shell, to show that any program will do.
# Hyperparameters arrive as arguments (--minimum-length 4), channels and the model directory as SM_... variables.
set -euo pipefail

minimum_length=1
while [ $# -gt 0 ]; do
  case $1 in
    --minimum-length) minimum_length=$2; shift 2 ;;
    *) echo "unknown hyperparameter $1" >&2; exit 2 ;;
  esac
done

# What would take hours saves its work here: the stop reaches every process of this script.
trap 'echo "stopped: the model so far is saved"; exit 0' TERM

cat "$SM_CHANNEL_TRAINING"/*.txt | tr -cs '[:alpha:]' '\n' | tr '[:upper:]' '[:lower:]' \
  | awk -v least="$minimum_length" 'length >= least { count[$0]++ } END { for (word in count) print count[word], word }' \
  | sort -rn >"$SM_MODEL_DIR/words.txt"
echo "vocabulary=$(wc -l <"$SM_MODEL_DIR/words.txt");"
