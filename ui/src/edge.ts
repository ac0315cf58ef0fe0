/**
 * What the account of a relay means: how each line stands, what a limit leads to, and what matters on every page.
 *
 * The node decides what leaves when; this finds the one sentence that matters of each stream.
 */

import type { Edge, EdgeLimit, EdgeLine } from './api/edge';
import type { CoverageItem } from './api/types';
import { parseTime } from './time';

/** A recorder hears an edge node every two seconds; one that was not heard for so long is away. */
const AWAY_MS = 15_000;
/** An hour, of which is said how long it takes to make up for it. */
const HOUR_MS = 3_600_000;

/** How it stands with a line. */
export type Standing =
  /** The recorder has no such camera of this node. */
  | { kind: 'unwanted' }
  /** Its speed is 0 %. */
  | { kind: 'stopped' }
  /** The external storage takes nothing. */
  | { kind: 'waits' }
  /** What was left out is sent, and with its limits all of it will be within so long. */
  | { kind: 'replenishes'; left_ms: number }
  /** More is recorded than leaves: what is short, `null` where it is the limit that is set. */
  | { kind: 'falls_behind'; cause: string | null }
  | { kind: 'keeps_up' };

/** How it stands with a line. */
export function standing(line: EdgeLine, { sending }: Pick<Edge, 'sending'>): Standing {
  const { cause, depletes_in_ms: left_ms } = line;
  if (line.speed_percent === 0) return { kind: 'stopped' };
  if (!sending) return { kind: 'waits' };
  if (!line.wanted) return { kind: 'unwanted' };
  if (cause !== null || left_ms === null) return { kind: 'falls_behind', cause };
  return line.backlog_ms > 0 ? { kind: 'replenishes', left_ms } : { kind: 'keeps_up' };
}

/** Whether somebody should look at it. */
export function isWrong({ kind }: Standing): boolean {
  return kind === 'falls_behind' || kind === 'stopped';
}

/** A line with how it stands, in the table. */
export interface Row {
  line: EdgeLine;
  standing: Standing;
  /** The first of its camera: the limits are those of a camera. */
  first: boolean;
}

/** The lines in the order of the names that `name` gives, the streams of a camera together. */
export function rows(edge: Edge, name: (camera: string) => string): Row[] {
  const order = (a: EdgeLine, b: EdgeLine): number =>
    name(a.camera).localeCompare(name(b.camera)) || (a.camera < b.camera ? -1 : a.camera > b.camera ? 1 : a.stream - b.stream);
  return [...edge.lines].sort(order).map((line, position, all) => ({
    line, standing: standing(line, edge), first: all[position - 1]?.camera !== line.camera,
  }));
}

/** What a limit leads to. */
export type Outlook =
  | { kind: 'stops' }
  /** The newest takes all, and what was left out is never sent: the speed in percent that is left of the rate of the recording. */
  | { kind: 'never'; percent: number }
  /** An hour is made up for in so long. */
  | { kind: 'catches_up'; hour_ms: number };

/** What a limit leads to for a camera that is recorded with so many bits per second; 0 when nothing is. */
export function outlook({ speed_percent, rate_bits_per_second: rate }: Omit<EdgeLimit, 'confirm'>, recorded_bits_per_second: number): Outlook {
  if (speed_percent <= 0) return { kind: 'stops' };
  const rated = recorded_bits_per_second > 0 && rate > 0 ? (rate * 100) / recorded_bits_per_second : Infinity;
  const percent = Math.min(speed_percent, rated);
  if (percent <= 100) return { kind: 'never', percent: Math.floor(percent) };
  return { kind: 'catches_up', hour_ms: (HOUR_MS * 100) / (percent - 100) };
}

/** Whether this node is, or is to be, an edge node: else there is nothing to say of its relay. */
export function isEdge(edge: Edge): boolean {
  return edge.recorder !== null || edge.case !== 0 || edge.sending;
}

/** What matters of a relay on every page; `null` while all is well. */
export type Headline = { kind: 'case'; number: number } | { kind: 'alarms'; count: number } | null;

/** A case of failure comes first, then alarms. */
export function headline(edge: Edge): Headline {
  if (edge.case !== 0) return { kind: 'case', number: edge.case };
  const count = edge.alarms.length;
  return count > 0 ? { kind: 'alarms', count } : null;
}

/** Whether an edge node was heard of late. */
export function isHeard(heard: string | null, now: number): boolean {
  const at = heard === null ? null : parseTime(heard);
  return at !== null && now - at < AWAY_MS;
}

/** How much of a window was not sent yet (ms), from its stretches. */
export function notSent(items: readonly CoverageItem[]): number {
  return items.reduce((sum, { from, to, state, reason }) => {
    const [begin, end] = [parseTime(from), parseTime(to)];
    if (state !== 'gap' || reason !== 'not_sent' || begin === null || end === null) return sum;
    return sum + Math.max(0, end - begin);
  }, 0);
}
