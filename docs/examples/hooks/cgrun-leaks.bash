# shellcheck shell=bash
# Hooks for bats that fail each test that leaves a process. In a test file:
#   load cgrun-leaks.bash
# If the file has a setup() or teardown() of its own, call these functions from them: cgrun_begin first, and cgrun_end last.

cgrun_begin() {
    [[ -z ${CGRUN_SESSION:-} ]] || cgrun_token=$(cgrun ps --token)
}

cgrun_end() {
    [[ -z ${CGRUN_SESSION:-} ]] || cgrun ps --new-since "$cgrun_token" --settle 50ms --end --grace 2s
}

setup() { cgrun_begin; }
teardown() { cgrun_end; }
