/** The language of the console: the first of the browser's that there is, else English. */

import { en, type Texts } from './en';

/** All languages, by their tags. */
export const languages: Record<string, Texts> = { en };

/** The first of `wanted` that there is. */
export function choose(wanted: readonly string[]): { tag: string; texts: Texts } {
  for (const tag of wanted) {
    const known = [tag, tag.split('-')[0] ?? ''].find((name) => Object.hasOwn(languages, name));
    const texts = known === undefined ? undefined : languages[known];
    if (texts !== undefined) return { tag, texts };
  }
  return { tag: 'en', texts: en };
}

const chosen = choose(globalThis.navigator?.languages ?? []);

/** The texts of the chosen language. */
export const t: Texts = chosen.texts;

/** Its tag, for dates and numbers. */
export const locale: string = chosen.tag;
