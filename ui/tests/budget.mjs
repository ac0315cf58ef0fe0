// Refuses a build that is larger than what the console may cost at its first load.

import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const BUDGET_BYTES = { js: 100 * 1024, css: 15 * 1024 };

const folder = new URL('../dist/assets/', import.meta.url);
const names = readdirSync(folder);
for (const [kind, budget] of Object.entries(BUDGET_BYTES)) {
  const files = names.filter((name) => name.endsWith(`.${kind}`));
  const bytes = files.reduce((sum, name) => sum + gzipSync(readFileSync(new URL(name, folder))).length, 0);
  console.log(`${kind}: ${bytes} bytes compressed, allowed are ${budget}`);
  if (files.length === 0 || bytes > budget) {
    console.error(files.length === 0 ? `the build has no ${kind}` : `${kind} is over budget`);
    process.exit(1);
  }
}
