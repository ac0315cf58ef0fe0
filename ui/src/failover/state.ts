/**
 * What the lists of a standby mean: which failures nobody covers, which commands would be refused, who is called what.
 *
 * The standby decides; this shows as usable only what it would not refuse.
 */

import type { Lists, Primary, Running } from '../api/failover';
import { parseTime } from '../time';

/** Whether a primary does not record what it should. */
export function hasFailed(primary: Primary): boolean {
  return primary.state === 'failed' || primary.state === 'records_nothing';
}

/** Cameras that neither their primary nor this standby records, of a primary that lives. */
export function openCameras(primary: Primary): string[] {
  return primary.missing.filter((camera) => !primary.covered_alone.includes(camera));
}

/** What matters most in the lists, for the line at the top of every page; `null` while nothing is the matter. */
export type Headline = { kind: 'open' | 'covers'; names: string[] } | null;

/** Failures that nobody covers come first; else failovers that run. */
export function headline(lists: Lists): Headline {
  const runs = new Set(lists.failovers.map(({ role }) => role));
  const open = lists.monitoring.filter((primary) => hasFailed(primary) && !runs.has(primary.role) && !primary.left_to_other);
  if (open.length > 0) return { kind: 'open', names: open.map(({ name }) => name) };
  if (lists.failovers.length > 0) return { kind: 'covers', names: lists.failovers.map(({ name }) => name) };
  return null;
}

/** Failovers that are due and wait for room: one of them begins as soon as another one is stopped. */
export function waiting(lists: Lists): Primary[] {
  return lists.monitoring.filter(({ waits }) => waits).sort((a, b) => a.priority - b.priority);
}

/** Whether a failover by hand would be refused, as the primary records all of its cameras. One that is silent may be failed over. */
export function isNormal(primary: Primary): boolean {
  return primary.state === 'normal' && openCameras(primary).length === 0;
}

/** Whether a drill would make sense: of a primary that answers, is not covered, and has none under way. */
export function isDrillable(primary: Primary, running: Running | undefined): boolean {
  return running === undefined && !primary.drilling && (primary.state === 'normal' || primary.state === 'missed');
}

/**
 * When a drill of a primary is due by the schedule (ms), `now` at the latest if it is due already; `null` while drills are begun
 * by hand only. One that was tested in the future was tested under another clock: it is due.
 */
export function drillDue(every_s: number | null, { tested }: Primary, now: number): number | null {
  if (every_s === null) return null;
  const at = tested === null ? null : parseTime(tested.at);
  return at === null || at > now ? now : Math.max(now, at + every_s * 1000);
}

/** Whether Replace would be refused: the primary answers, and nothing runs for it. */
export function isReplaceable(primary: Primary, running: Running | undefined): boolean {
  return running === undefined ? primary.state === 'failed' || primary.state === 'missed' || primary.state === 'unheard' : !running.returning;
}

/** The failover of a primary; `undefined` while none runs. */
export function runningOf(lists: Lists, role: string): Running | undefined {
  return lists.failovers.find((running) => running.role === role);
}

/** The largest span of a report that neither recorder is known to hold: a camera's, or `null` when one is not known. */
export function worstGap(cameras: readonly { gap_ms: number | null }[]): number | null {
  let worst = 0;
  for (const { gap_ms } of cameras) {
    if (gap_ms === null) return null;
    worst = Math.max(worst, gap_ms);
  }
  return cameras.length === 0 ? null : worst;
}
