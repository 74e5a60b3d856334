#!/usr/bin/env bash
# Succeeds if one of these paths is other than where this branch left main, or if that can't be told: then whoever asks has work to do.
# On main itself, which left nothing, the commit before counts. COMPARE_WITH=<commit> names another one to compare with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "changed: $*" >&2; }
commit() { git rev-parse --verify --quiet "$1^{commit}"; }

base=${COMPARE_WITH:-}
for main in origin/main main; do
  [[ -n $base ]] || base=$(git merge-base HEAD "$main" 2>/dev/null) || base=
done
if [[ -z $base || $(commit "$base") == "$(commit HEAD)" ]]; then
  base=$(commit HEAD^) || { say "nothing to compare with"; exit 0; }
fi
commit "$base" >/dev/null || { say "nothing to compare with"; exit 0; }
if git diff --quiet "$base" -- "$@" && [[ -z $(git ls-files --others --exclude-standard -- "$@") ]]; then
  say "nothing since $(git rev-parse --short "$base") in $*"
  exit 1
fi
