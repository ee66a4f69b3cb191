// The setup file of vitest that fails each test that leaves a process. In vitest.config.js:
//   test: { setupFiles: './cgrun-vitest.mjs' }

import { beforeEach, onTestFinished } from 'vitest';
import leaks from './cgrun-leaks.cjs';

beforeEach(async ({ task }) => {
  // This comes after all afterEach hooks, and after what the test itself registers.
  onTestFinished(async () => {
    const left = await leaks.end();
    if (left) throw leaks.leak(left);
  });
  await leaks.begin(`${task.file.name}: ${names(task).join(' > ')}`);
});

function names(task) {
  return task.suite ? [...names(task.suite), task.name] : [task.name];
}
