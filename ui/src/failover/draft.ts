/**
 * What an operator has changed on the page NVR Failover and not applied: nothing of it is in force before *Apply*.
 *
 * Pure functions from one draft to the next. A change that says what is in force already is no change, whoever made it so
 * meanwhile; what belongs to a recorder that is gone is dropped.
 */

import type { Lists, Login, PrimaryBody, Primary, SetupBody } from '../api/failover';

/** A recorder that was chosen, and its login. */
export interface Chosen {
  address: string;
  name: string;
  mac: string | null;
  login: Login;
  /** Its key, as a scan has seen it proven: the login goes to nobody else. Left out when it was entered by hand. */
  key?: string;
}

/** A recorder that is to be put on the Monitoring list. */
export interface Added extends Chosen {
  /** On purpose beside the standby that it is registered at already. */
  beside: boolean;
  /** Why the standby refused it; `null` before it was asked. */
  refused: { code: string; detail: string } | null;
}

/** What is not in force yet. */
export interface Draft {
  setup: Partial<SetupBody>;
  /** Changes of primaries, by their roles. */
  changed: Readonly<Record<string, PrimaryBody>>;
  /** Roles that are to be taken off the list. */
  removed: readonly string[];
  added: readonly Added[];
}

/** No change. */
export const NOTHING: Draft = { setup: {}, changed: {}, removed: [], added: [] };

/** How many changes there are. */
export function count(draft: Draft): number {
  const inside = Object.values(draft.changed).reduce((sum, change) => sum + Object.keys(change).length, 0);
  return Object.keys(draft.setup).length + inside + draft.removed.length + draft.added.length;
}

/** The draft without what is in force, and without what is about recorders that are not on the list. */
export function settle(draft: Draft, lists: Lists): Draft {
  const known = new Map(lists.monitoring.map((primary) => [primary.role, primary]));
  const removed = draft.removed.filter((role) => known.has(role));
  const changed: Record<string, PrimaryBody> = {};
  for (const [role, change] of Object.entries(draft.changed)) {
    const primary = known.get(role);
    const left = primary === undefined || removed.includes(role) ? {} : different(change, primary);
    if (Object.keys(left).length > 0) changed[role] = left;
  }
  return { setup: different(draft.setup, lists.setup), changed, removed, added: draft.added };
}

/** The parts of `change` that differ from what is. */
function different<T extends object>(change: Partial<T>, is: T): Partial<T> {
  const left = Object.entries(change).filter(([key, value]) => is[key as keyof T] !== value);
  return Object.fromEntries(left) as Partial<T>;
}

/** With another setup. */
export function withSetup(draft: Draft, change: Partial<SetupBody>): Draft {
  return { ...draft, setup: { ...draft.setup, ...change } };
}

/** With a change of a primary. */
export function withChange(draft: Draft, role: string, change: PrimaryBody): Draft {
  return { ...draft, changed: { ...draft.changed, [role]: { ...draft.changed[role], ...change } } };
}

/** With a primary taken off the list, or left on it after all. */
export function withRemoved(draft: Draft, role: string, removed: boolean): Draft {
  const others = draft.removed.filter((other) => other !== role);
  return { ...draft, removed: removed ? [...others, role] : others };
}

/** With a recorder put on the list; one of the same address is replaced. */
export function withAdded(draft: Draft, added: Added): Draft {
  return { ...draft, added: [...draft.added.filter((other) => other.address !== added.address), added] };
}

/** Without a recorder that was to be put on the list. */
export function withoutAdded(draft: Draft, address: string): Draft {
  return { ...draft, added: draft.added.filter((other) => other.address !== address) };
}

/** The setup as it will be. */
export function setupOf(draft: Draft, lists: Lists): SetupBody {
  const { check_interval_ms, setup_backup_interval_s, auto_failover_threshold } = { ...lists.setup, ...draft.setup };
  return { check_interval_ms, setup_backup_interval_s, auto_failover_threshold };
}

/** A primary as it will be. */
export function primaryOf(draft: Draft, primary: Primary): Primary {
  return { ...primary, ...draft.changed[primary.role] };
}

/** How long a failure lasts before its failover starts: usually (the connection breaks), and at most (nothing comes at all). */
export function takesOverAfter({ check_interval_ms, auto_failover_threshold }: SetupBody): { about_ms: number; most_ms: number } {
  const about_ms = check_interval_ms * auto_failover_threshold;
  return { about_ms, most_ms: about_ms + check_interval_ms };
}
