// Finds what one test has left running in a session of cgrun, and ends it. The hooks for jest, vitest, Playwright and mocha
// use this file. Without cgrun it does nothing.

const { execFile } = require('node:child_process');
const { readFileSync } = require('node:fs');

// The moment before which everything was started that the current test is not asked about.
let token;
// What `started` said when the token was made.
let before;
// How many tests are running now, and whether there have been several at once: then nothing tells whose a process is.
let running = 0;
let overlap = false;

// Changes whenever this thread starts a process: that is a child or, once it has exited, counts among the page faults of the
// children (proc_pid_stat(5), cminflt). To read this is much faster than to start cgrun for each test.
function started() {
  const faults = readFileSync('/proc/self/stat', 'latin1').split(') ').pop().split(' ')[8];
  return `${faults} ${readFileSync('/proc/thread-self/children', 'latin1')}`;
}

function cgrun(...options) {
  return new Promise((resolve, reject) => {
    execFile('cgrun', ['ps', ...options], (error, stdout, stderr) => {
      // 1: something was left. 122: something is still running, or could not be read.
      if (!error || [1, 122].includes(error.code)) resolve([stdout, stderr]);
      else reject(new Error(`cgrun ps failed: ${stderr || error.message}`));
    });
  });
}

// Call this before a test, and before what is set up for that test alone. The processes that it starts carry its name.
async function begin(test) {
  if (!process.env.CGRUN_SESSION) return;
  running += 1;
  overlap ||= running > 1;
  if (overlap) {
    delete process.env.CGRUN_TEST;
    return;
  }
  // What is set up for several tests, since the last one ended, is older than the token.
  if (before !== started()) {
    const [printed] = await cgrun('--token');
    token = printed.trim();
    before = started();
  }
  // The kernel passes on no variable that is longer than 128 KiB or contains a NUL.
  process.env.CGRUN_TEST = test.replaceAll('\0', '').slice(0, 1000);
}

// Call this after the test and its cleanup. Returns what it left running, in cgrun's words, or an empty string.
async function end() {
  if (!process.env.CGRUN_SESSION) return '';
  running -= 1;
  if (overlap) {
    overlap = running > 0;
    before = undefined;
    return '';
  }
  try {
    if (before === started()) return '';
    const end = ['--settle', '50ms', '--end', '--grace', '2s', '--json'];
    const [json, problems] = await cgrun('--new-since', token, ...end);
    const { summary, token: next } = JSON.parse(json);
    token = next;
    before = started();
    return (summary ?? '') + problems;
  } finally {
    delete process.env.CGRUN_TEST;
  }
}

// An error whose stack would say nothing.
function leak(left) {
  const error = new Error(left);
  error.stack = left;
  return error;
}

module.exports = { begin, end, leak };
