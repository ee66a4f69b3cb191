// A fixture of Playwright that fails each test that leaves a process. In each test file:
//   const { test, expect } = require('./cgrun-playwright.cjs')
// Fixtures that live as long as their worker are not the test's. They are named below, so that they are set up before the
// test. If your tests need no browser, write `{}` there.

const base = require('@playwright/test');
const { begin, end, leak } = require('./cgrun-leaks.cjs');

const test = base.test.extend({
  leaks: [
    async ({ browser }, use, info) => {
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
