import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { choose, languages } from '.';
import { en } from './en';

/** The paths of all texts, with the number of their parameters. */
function paths(value: unknown, path = ''): string[] {
  if (typeof value === 'function') return [`${path}/${value.length}`];
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([key, inner]) => paths(inner, `${path}.${key}`));
}

function sources(folder: URL): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isDirectory()) return sources(new URL(`${entry.name}/`, folder));
    const code = /\.(ts|svelte)$/.test(entry.name) && !/(\.test\.ts|en\.ts)$/.test(entry.name);
    return code ? [readFileSync(new URL(entry.name, folder), 'utf8')] : [];
  });
}

const code = sources(new URL('..', import.meta.url)).join('\n');

describe.each(Object.entries(languages))('%s', (_, texts) => {
  it('has every text of English, with the same parameters, and none besides', () => {
    expect(paths(texts)).toEqual(paths(en));
  });

  it('leaves no text empty', () => {
    const empty = paths(texts).filter((path) => {
      const value = path.replace(/\/\d+$/, '').split('.').slice(1).reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], texts);
      return value === '';
    });
    expect(empty).toEqual([]);
  });
});

it('every text is used', () => {
  const groups = new Set(['reasons', 'connections', 'states', 'roles', 'roleMeans', 'pages', 'stream', 'whys', 'causes', 'claims', 'ends', 'cases', 'caseMeans', 'places', 'conditions', 'alarmKinds', 'standings', 'shortOf']);
  const unused = paths(en).map((path) => path.replace(/\/\d+$/, '')).filter((path) => {
    const parts = path.split('.').slice(1);
    if (parts.some((part, index) => index < parts.length - 1 && groups.has(part))) return false;
    return !code.includes(`t.${parts.join('.')}`) && !code.includes(`'${parts.at(-1)}'`);
  });
  expect(unused).toEqual([]);
});

it('every reason of coverage has words', () => {
  const model = readFileSync(new URL('../../../core/model/src/coverage.rs', import.meta.url), 'utf8');
  const reasons = ['GapReason', 'UnknownReason'].flatMap((name) => {
    const body = model.split(`pub enum ${name} {`)[1]?.split('\n}')[0] ?? '';
    return [...body.matchAll(/^ {4}([A-Z]\w+),/gm)].map(([, word]) => (word as string).replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase());
  });
  expect(reasons.length).toBeGreaterThan(10);
  expect(Object.keys(en.reasons).sort()).toEqual(reasons.sort());
});

it('the language is the first of the browser that there is', () => {
  expect(choose(['xx', 'en-GB', 'en']).tag).toBe('en-GB');
  expect(choose(['__proto__', 'xx']).tag).toBe('en');
  expect(choose([]).tag).toBe('en');
});

it('no source makes elements or styles from texts', () => {
  expect(code).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\{@html|\bstyle="|eval\(|new Function/);
});
