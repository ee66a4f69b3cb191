// Root hooks of mocha that fail each test that leaves a process. In .mocharc.yml:
//   require: ./cgrun-mocha.cjs
// mocha calls them before the afterEach hooks that are outside of any describe.

const { relative } = require('node:path');
const { Runner } = require('mocha');
const { begin, end, leak } = require('./cgrun-leaks.cjs');

// An error in a hook would skip the tests that follow, so the runner itself has to fail the test.
let runner;
const { run } = Runner.prototype;
Runner.prototype.run = function (...args) {
  runner = this;
  return run.apply(this, args);
};

exports.mochaHooks = {
  async beforeEach() {
    const { file, titlePath } = this.currentTest;
    await begin(`${relative('', file)}: ${titlePath.call(this.currentTest).join(' > ')}`);
  },
  async afterEach() {
    const left = await end();
    const { err } = this.currentTest;
    if (left && err) Object.assign(err, { message: `${err.message}\n${left}`, stack: `${left}${err.stack}` });
    else if (left) runner.fail(this.currentTest, leak(left), true);
  },
};
