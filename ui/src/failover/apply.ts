/**
 * Carries out a draft: the setup, then what leaves the Monitoring list, what changes on it, and what joins it.
 *
 * Each change stands for itself. What is refused stays in the draft with its reason, and holds up nothing else.
 */

import type { failoverApi, Lists } from '../api/failover';
import { type Draft, setupOf, withoutAdded } from './draft';

/** What came of one change. */
export interface Result {
  failed: boolean;
  text: string;
}

/** How results are said. */
export interface ResultWords {
  setup: string;
  setupName: string;
  removed: (name: string) => string;
  changed: (name: string) => string;
  added: (name: string) => string;
  refused: (name: string, why: string) => string;
  explain: (error: unknown) => string;
}

/** The questions that are asked for it. */
export type Asked = Pick<typeof failoverApi, 'setUp' | 'remove' | 'change' | 'register'>;

/** Carries out a draft; returns what is left of it, and what came of each change. */
export async function apply(draft: Draft, lists: Lists, api: Asked, words: ResultWords): Promise<{ left: Draft; results: Result[] }> {
  const results: Result[] = [];
  let left = draft;
  const names = new Map(lists.monitoring.map(({ role, name }) => [role, name]));
  const nameOf = (role: string): string => names.get(role) ?? role;
  const attempt = async (name: string, done: string, work: () => Promise<unknown>): Promise<boolean> => {
    try {
      await work();
      results.push({ failed: false, text: done });
      return true;
    } catch (error) {
      results.push({ failed: true, text: words.refused(name, words.explain(error)) });
      return false;
    }
  };
  if (Object.keys(draft.setup).length > 0) {
    const done = await attempt(words.setupName, words.setup, () => api.setUp(setupOf(draft, lists)));
    if (done) left = { ...left, setup: {} };
  }
  for (const role of draft.removed) {
    const name = nameOf(role);
    const done = await attempt(name, words.removed(name), () => api.remove(role));
    if (done) left = { ...left, removed: left.removed.filter((other) => other !== role) };
  }
  for (const [role, change] of Object.entries(draft.changed)) {
    const name = nameOf(role);
    const done = await attempt(name, words.changed(name), () => api.change(role, change));
    if (done) {
      const { [role]: _, ...changed } = left.changed;
      left = { ...left, changed };
    }
  }
  return { left: await join(draft, left, results, api, words), results };
}

/** Puts recorders on the list, all with one question; each is taken or refused by itself. */
async function join(draft: Draft, before: Draft, results: Result[], api: Asked, words: ResultWords): Promise<Draft> {
  if (draft.added.length === 0) return before;
  let left = before;
  try {
    const items = draft.added.map(({ address, login, beside, key }) => ({ address, ...login, beside, ...(key === undefined ? {} : { key }) }));
    const answers = await api.register(items);
    for (const { address, registered, name, code, detail } of answers) {
      const asked = draft.added.find((added) => added.address === address);
      if (asked === undefined) continue;
      if (registered) {
        left = withoutAdded(left, address);
        results.push({ failed: false, text: words.added(name ?? asked.name) });
      } else {
        const refused = { code: code ?? '', detail: detail ?? code ?? '' };
        left = { ...left, added: left.added.map((added) => (added.address === address ? { ...added, refused } : added)) };
        results.push({ failed: true, text: words.refused(asked.name, refused.detail) });
      }
    }
  } catch (error) {
    const names = draft.added.map(({ name }) => name).join(', ');
    results.push({ failed: true, text: words.refused(names, words.explain(error)) });
  }
  return left;
}
