// A fixture of Playwright that fails each test that leaves a process. In each test file:
//   const { test, expect } = require('./cgrun-playwright.cjs')
// Fixtures that live as long as their worker, such as the browser, are not the test's. If your tests use one, name it
// here, so that it is set up before the test: `async ({ browser }, use, info) => {`.

const base = require('@playwright/test');
const { begin, end, leak } = require('./cgrun-leaks.cjs');

const test = base.test.extend({
  leaks: [
    // eslint-disable-next-line no-empty-pattern
    async ({}, use, info) => {
      const [file, ...names] = info.titlePath;
      await begin(`${file}: ${names.join(' > ')}`);
      await use();
      const left = await end();
      if (left) throw leak(left);
    },
    { auto: true },
  ],
});

module.exports = { ...base, test };
