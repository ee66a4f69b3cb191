// Asks a Node.js process for its diagnostic report, prints what its event loop waits for, and removes the report.
// Arguments: the process's pid, the signal that asks, the directory of the reports, and the pid that their names have.
const fs = require("node:fs");
const path = require("node:path");

const [pid, signal, directory, ownPid] = process.argv.slice(1);
const isReport = (name) => /^report\.\d+\.\d+\.(\d+)\.\d+\.\d+\.json$/.exec(name)?.[1] === ownPid;
const reports = () => fs.readdirSync(directory).filter(isReport);
const deadline = Date.now() + 3000;

const address = (end) => (end ? `${end.ip4 ?? `[${end.ip6}]`}:${end.port}` : undefined);
const described = (handle) => {
  const { type, localEndpoint: local, remoteEndpoint: remote } = handle;
  switch (type) {
    case "timer":
      return `a timer, in ${handle.firesInMsFromNow} ms`;
    case "tcp":
      return remote ? `a connection to ${address(remote)}` : `connections to ${address(local)}`;
    case "udp":
      return `datagrams to ${address(local)}`;
    case "process":
      return `the exit of its child ${handle.pid}`;
    case "fs_event":
    case "fs_poll":
      return `a change of ${handle.filename}`;
    default:
      return handle.fd === undefined ? type : `${type} ${handle.fd}`;
  }
};

const print = (report) => {
  const { message, stack = [] } = report.javascriptStack ?? {};
  const frames = stack.filter((frame) => !frame.startsWith("Unavailable"));
  if (frames.length > 0) console.log([message, ...frames].filter(Boolean).join("\n"));
  const handles = report.libuv.filter((handle) => handle.is_active && handle.is_referenced);
  handles.forEach((handle) => console.log(described(handle)));
  if (frames.length + handles.length === 0) console.log("nothing: it is about to exit, or code without a handle runs");
};

const before = new Set(reports());
const look = () => {
  for (const name of reports().filter((name) => !before.has(name))) {
    const file = path.join(directory, name);
    let report;
    try {
      report = JSON.parse(fs.readFileSync(file, "utf8"));
    } catch {
      continue; // It is still being written.
    }
    fs.unlinkSync(file);
    print(report);
    return;
  }
  if (Date.now() < deadline) {
    setTimeout(look, 20);
    return;
  }
  console.error("it wrote no report within 3 s: its code does not return to the event loop");
  process.exitCode = 1;
};
process.kill(Number(pid), signal);
look();
