/**
 * What the account of back-fill means: which streams still get something, which stay as they are, and why.
 *
 * The recorder decides what is fetched, and from whom; this finds the one sentence that matters of each stream.
 */

import type { Replenished, ReplenishRunning, Replenishment } from './api/types';
import { parseTime } from './time';

/** Why a stream gets footage at the moment, or does not. */
export type Standing =
  | { kind: 'comes'; running: ReplenishRunning }
  /** Nothing of it is missing. */
  | { kind: 'whole' }
  /** No source has what is missing, or the full disks have no room for anything as old. */
  | { kind: 'nowhere' }
  /** There is nobody to ask. */
  | { kind: 'nobody' }
  | { kind: 'paused' }
  /** The disks took nothing; it is tried again. */
  | { kind: 'noRoom' }
  /** Every source failed and is left alone, the first of them until then (ms). */
  | { kind: 'rests'; until: number }
  /** Others come first. */
  | { kind: 'waits' };

/** How it stands with a stream. */
export function standing({ missing_ms, nowhere_ms, running, sources, last }: Replenished, paused: boolean, now: number): Standing {
  if (running !== null) return { kind: 'comes', running };
  if (missing_ms === 0) return { kind: 'whole' };
  if (nowhere_ms >= missing_ms) return { kind: 'nowhere' };
  if (sources.length === 0) return { kind: 'nobody' };
  if (paused) return { kind: 'paused' };
  if (last?.end === 'no_room') return { kind: 'noRoom' };
  const rests = sources.map(({ rests_until }) => (rests_until === null ? null : parseTime(rests_until)));
  const until = Math.min(...rests.map((at) => at ?? now));
  return until > now ? { kind: 'rests', until } : { kind: 'waits' };
}

/** A stream with how it stands. */
export interface Row {
  item: Replenished;
  standing: Standing;
}

/** The streams, as an operator asks for them. */
export interface Account {
  /** What still comes, or would. */
  open: Row[];
  /** What nobody has or can be asked for. */
  closed: Row[];
  /** How much still comes, and how much stays missing. */
  open_ms: number;
  closed_ms: number;
}

/** Tells what still comes from what stays missing; in the order of the names that `name` gives. */
export function account({ items, paused }: Replenishment, now: number, name: (camera: string) => string): Account {
  const rows = items
    .map((item) => ({ item, standing: standing(item, paused, now) }))
    .sort((a, b) => name(a.item.camera).localeCompare(name(b.item.camera)) || (a.item.stream < b.item.stream ? -1 : 1));
  const open = rows.filter(({ standing: { kind } }) => !['whole', 'nowhere', 'nobody'].includes(kind));
  const closed = rows.filter(({ standing: { kind } }) => kind === 'nowhere' || kind === 'nobody');
  const missing_ms = items.reduce((sum, item) => sum + item.missing_ms, 0);
  const open_ms = open.reduce((sum, { item }) => sum + Math.max(0, item.missing_ms - item.nowhere_ms), 0);
  return { open, closed, open_ms, closed_ms: missing_ms - open_ms };
}
