# Runs before each example of the documentation.
unset XDG_STATE_HOME CI GITHUB_ACTIONS GITLAB_CI TF_BUILD BUILDKITE
export PATH=$HOME/bin:$PWD/shop/.venv/bin:$CGRUN_DIRECTORY:$PATH
mkdir bin
# The program's own first line contains the path where the tests installed it.
printf '#!/bin/sh\nexec python3 -m pytest "$@"\n' >bin/pytest
chmod +x bin/pytest
cd shop || exit
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT

# Waits until something listens on the port.
listening() { until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.02; done; }

