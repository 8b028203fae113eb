#!/bin/bash
# Write requirements.lock anew: every package that the project, its extras and its developers need, with
# versions and hashes. Run by `make lock`; arguments go to uv, e.g. `--upgrade` or `--upgrade-package trio`.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet 'uv==0.9.30'
# --universal: one lock for every platform and Python from 3.11 on.
"$scratch/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --all-extras --group dev --custom-compile-command 'make lock' \
    --output-file requirements.lock pyproject.toml "$@"
"$scratch/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --custom-compile-command 'make lock' \
    --output-file benchmarks/stock.lock benchmarks/stock.in "$@"
