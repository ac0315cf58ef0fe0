/** What is said of a stretch of coverage in words. */

import { reasonText } from '../camera';
import { t } from '../i18n';
import type { Stretch } from './coverage';

/** The state of a stretch, with who recorded it in whose place. */
export function stateText({ kind, recorder, replaces }: Stretch, nameOf: (role: string) => string): string {
  const state = t.states[kind];
  return recorder === null || replaces === null ? state : t.timeline.byWhom(state, nameOf(recorder), nameOf(replaces));
}

/** Why it is so; empty where there is nothing to explain. */
export function whyText({ reason, detail }: Stretch): string {
  return reasonText(reason) || (detail ?? '');
}
