#!/bin/sh
# Runs one test for cargo nextest, and fails it if it leaves a process. In .cargo/config.toml:
#   [target.'cfg(target_os = "linux")']
#   runner = "./cgrun-nextest.sh"

"$@"
code=$?
# It also runs for `cargo run`, and when nextest lists the tests.
if [ -z "$CGRUN_SESSION" ] || [ -z "$NEXTEST_TEST_NAME" ]; then
    exit $code
fi
test="$NEXTEST_BINARY_ID $NEXTEST_TEST_NAME"
if ! cgrun ps --during "$test" --settle 50ms --end --grace 2s >&2 && [ $code = 0 ]; then
    code=101
fi
exit $code
