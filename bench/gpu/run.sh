#!/usr/bin/env bash
# Everything there is to measure on a machine with a GPU, in one command and without a network:
# does the device compute what the CPU computes, how fast is it beside PyTorch, does it learn the same?
#
#     bench/gpu/run.sh SCANT TEST [--device cuda:0] [--python python3] [--out gpu-results] [--quick]
#
# SCANT and TEST are the program and its device test, built for the device, as they are or compressed
# with xz; docs/devices.md says how to make them. PyTorch is measured if PYTHON has it. Writes
# table.md, with every log and record beside it. The exit code is that of the device test, which may
# pass at 5e-3, as TF32 does, where it does not at 1e-4.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() { sed -n '5p' "${BASH_SOURCE[0]}" | sed 's/^#  */usage: /' >&2; exit 2; }

device=cuda:0 python=python3 out=gpu-results quick=
[ $# -ge 2 ] || usage
scant=$1 test=$2
shift 2
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1; shift; continue ;;
    --device | --python | --out) [ $# -ge 2 ] || usage ;;
    *) usage ;;
  esac
  printf -v "${1#--}" %s "$2"
  shift 2
done

step() { printf '\n=== %s\n' "$1" >&2; }

unpacked() { # FILE NAME: the program, ready to run
  case $1 in
    *.xz) xz -dc "$1" >"$out/bin/$2" ;;
    *) cp "$1" "$out/bin/$2" ;;
  esac
  chmod +x "$out/bin/$2"
}

mkdir -p "$out/bin"
out=$(cd "$out" && pwd)
rm -rf "$out/run-cpu" "$out/run-device" "$out/pool" "$out"/*.json "$out"/*.log
unpacked "$scant" scant
unpacked "$test" device
scant=$out/bin/scant

# Kernels are compiled by NVRTC, with the headers of CUDA. Where CUDA is not installed, PyTorch may
# have brought both.
if [ -z "${CUDA_PATH:-}" ] && [ ! -e /usr/local/cuda ] && [ ! -e /opt/cuda ]; then
  for found in $("$python" -c 'import glob, sysconfig
print(*glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/cu[0-9]*"))' 2>/dev/null); do
    export CUDA_PATH=$found
    export LD_LIBRARY_PATH=$found/lib:${LD_LIBRARY_PATH:-}
  done
fi

if [ -n "$quick" ]; then
  batches="2" net="--width 4 --depth 2" size=32 large=64 repeats=3 modes="fp32 channels-last"
  train=(--epochs 2 --set "data.size=[32, 32]" --set model.width=4)
  images=6
else
  batches="2 16" net="--width 32 --depth 4" size=256 large=512 repeats=20
  modes="fp32 channels-last bf16 compile compile-channels-last compile-bf16"
  train=(--epochs 20 --set "data.size=[128, 128]" --set model.width=16)
  images=48
fi
kind=${device%%:*} # PyTorch takes the GPU that CUDA_VISIBLE_DEVICES shows first.

step "the machine"
{
  date -u +%F
  uname -sr
  grep -m1 'model name' /proc/cpuinfo || true
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
} >"$out/machine.log" 2>/dev/null
cat "$out/machine.log" >&2

step "the same numbers as on the CPU, within 1e-4"
verdict=0 tolerance=1e-4
tested() { # LOG
  SCANT_DEVICE=$device SCANT_DEVICE_TOLERANCE=$tolerance \
    "$out/bin/device" --nocapture --test-threads 1 >"$out/$1" 2>&1 || verdict=$?
  tail -n 4 "$out/$1" >&2
}
tested device.log
if [ $verdict -ne 0 ]; then
  verdict=0 tolerance=5e-3
  tested device-tf32.log
fi

# A measurement that fails leaves the reason in its log and the others alone.
measured() { # NAME COMMAND...
  local name=$1
  shift
  echo "$name" >&2
  "$@" >"$out/$name.json" 2>"$out/$name.log" || { rm -f "$out/$name.json"; tail -n 2 "$out/$name.log" >&2; }
}

step "speed"
for what in step infer; do
  [ $what = step ] && side=$size || side=$large
  for batch in $batches; do
    # shellcheck disable=SC2086 # $net is several words
    common="$what $net --size $side --batch $batch --repeats $repeats --warmup 5"
    measured "scant-$what-$batch" "$scant" bench $common --device "$device" --json
    for mode in $modes; do
      measured "torch-$what-$batch-$mode" \
        "$python" "$here/../peers/step_torch.py" $common --device "$kind" --mode "$mode"
    done
  done
done

step "learning"
"$scant" demo --data-only "$out/pool" --images "$images" --size 128 >/dev/null
trained() { # NAME DEVICE
  echo "run-$1" >&2
  "$scant" train "$out/pool" --recipe supervised/unet --seed 1 "${train[@]}" -o "$out/run-$1" \
    --device "$2" --quiet >"$out/run-$1.log" 2>&1 || tail -n 2 "$out/run-$1.log" >&2
}
trained cpu cpu
trained device "$device"

step "table"
"$python" "$here/table.py" "$out" --device "$device" --verdict "$verdict" --tolerance "$tolerance" | tee "$out/table.md"
exit "$verdict"
