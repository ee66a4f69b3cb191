// The test environment of jest that fails each test that leaves a process. In jest.config.js:
//   testEnvironment: './cgrun-jest.cjs'
// For the DOM, extend the environment of jest-environment-jsdom instead.

const { relative } = require('node:path');
const { TestEnvironment } = require('jest-environment-node');
const { begin, end, leak } = require('./cgrun-leaks.cjs');

class LeakEnvironment extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    this.file = relative(config.projectConfig.rootDir, context.testPath);
    this.isConcurrent = false;
  }

  async handleTestEvent(event) {
    // jest starts all concurrent tests of a file first, whatever it reports.
    if (event.name === 'add_test') this.isConcurrent ||= event.concurrent;
    if (this.isConcurrent) return;
    if (event.name === 'test_start') await begin(`${this.file}: ${names(event.test).join(' > ')}`);
    if (event.name === 'test_done') {
      const left = await end();
      if (left) event.test.errors.push(leak(left));
    }
    if (event.name === 'test_skip' || event.name === 'test_todo') await end();
  }
}

// Of the test and the blocks around it, but not of the file's own block.
function names(block) {
  return block.parent ? [...names(block.parent), block.name] : [];
}

module.exports = LeakEnvironment;
