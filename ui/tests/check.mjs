// Checks the types of all sources, and that the checker still finds an error where there is one: some pairs of
// versions of svelte-check and TypeScript silently find none.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

function svelteCheck(...options) {
  const program = fileURLToPath(new URL('../node_modules/svelte-check/bin/svelte-check', import.meta.url));
  return spawnSync(process.execPath, [program, ...options], { cwd: root, encoding: 'utf8' });
}

const sources = svelteCheck('--tsconfig', './tsconfig.json', '--fail-on-warnings', '--output', 'human');
process.stdout.write(sources.stdout + sources.stderr);
if (sources.status !== 0) process.exit(1);

const canary = svelteCheck('--workspace', 'tests/canary', '--tsconfig', './tsconfig.json', '--output', 'machine');
const errors = canary.stdout.split('\n').filter((line) => line.includes(' ERROR '));
const found = ['canary.ts', 'Canary.svelte'].filter((name) => errors.some((line) => line.includes(name)));
if (canary.status === 0 || errors.length !== 2 || found.length !== 2) {
  console.error(`the checker does not report the two errors of tests/canary:\n${canary.stdout}`);
  process.exit(1);
}
