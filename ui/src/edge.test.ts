import { describe, expect, it } from 'vitest';
import type { Edge, EdgeLine, EdgeRecorder } from './api/edge';
import type { CoverageItem } from './api/types';
import { headline, isEdge, isHeard, notSent, outlook, rows, standing } from './edge';
import { formatTime } from './time';

const line = (part: Partial<EdgeLine> = {}): EdgeLine => ({
  camera: 'gate', stream: 0, wanted: true, behind_ms: 104_000, backlog_ms: 0, sent_bytes: 1, sent_records: 1, lost_ms: 0, speed_percent: 200, rate_bits_per_second: 0,
  limit_set: false, recorded_bits_per_second: 2_000_000, sent_bits_per_second: 2_000_000, waiting_bytes: 0, depletes_in_ms: 0, cause: null, ...part,
});
const recorder: EdgeRecorder = { name: 'center', address: '', key: '', since: '', answered: null, clock_ahead_ms: null, away_since: null, trouble: null };
const edge = (part: Partial<Edge> = {}): Edge => ({
  case: 0, sentence: '', sending: true, recorder, lines: [line()], alarms: [], disks: [], unused_recorder: null, storages: [], memory: { used_bytes: 0, max_bytes: 0 }, throttle_bits_per_second: 0,
  fill: { place: 'internal', used_bytes: 0, room_bytes: 0, percent: 0, warned: false, overflows_in_ms: null, warning_percent: 90, all_clear_percent: 50 }, ...part,
});

describe('how a line stands', () => {
  const kind = (part: Partial<EdgeLine>, sending = true): unknown => standing(line(part), { sending });

  it('is said by what would have to change', () => {
    expect(kind({})).toEqual({ kind: 'keeps_up' });
    expect(kind({ wanted: false })).toEqual({ kind: 'unwanted' });
    expect(kind({ backlog_ms: 1, depletes_in_ms: 5_000 })).toEqual({ kind: 'replenishes', left_ms: 5_000 });
    expect(kind({ backlog_ms: 1, depletes_in_ms: null })).toEqual({ kind: 'falls_behind', cause: null });
    // With its limits it would catch up, and does not.
    expect(kind({ backlog_ms: 1, depletes_in_ms: 5_000, cause: 'network' })).toEqual({ kind: 'falls_behind', cause: 'network' });
    expect(kind({ cause: 'storage' })).toEqual({ kind: 'falls_behind', cause: 'storage' });
  });

  it('is that it waits while nothing is taken, unless it is paused anyway', () => {
    expect(kind({ backlog_ms: 1, wanted: false }, false)).toEqual({ kind: 'waits' });
    expect(kind({ speed_percent: 0 }, false)).toEqual({ kind: 'stopped' });
  });
});

it('lines stand by the names of their cameras, the streams of a camera together, and one of them has its limits', () => {
  const names: Record<string, string> = { gate: 'North gate', dock: 'Dock', yard: 'Dock' };
  const lines = [line({ stream: 1 }), line({ camera: 'yard' }), line(), line({ camera: 'dock', stream: 1 }), line({ camera: 'dock' })];
  const found = rows(edge({ lines }), (id) => names[id] ?? id);
  expect(found.map(({ line: { camera, stream }, first }) => `${camera} ${stream} ${first}`)).toEqual(['dock 0 true', 'dock 1 false', 'yard 0 true', 'gate 0 true', 'gate 1 false']);
});

describe('a limit', () => {
  const HOUR = 3_600_000;
  const of = (speed_percent: number, rate_bits_per_second = 0, recorded = 2_000_000): unknown => outlook({ speed_percent, rate_bits_per_second }, recorded);

  it('makes up for a gap in gap / (speed - 1)', () => {
    expect(of(200)).toEqual({ kind: 'catches_up', hour_ms: HOUR });
    expect(of(150)).toEqual({ kind: 'catches_up', hour_ms: 2 * HOUR });
    expect(of(500)).toEqual({ kind: 'catches_up', hour_ms: HOUR / 4 });
    // The lesser of the two cuts: 3 Mbit/s of 2 Mbit/s is 150 %.
    expect(of(500, 3_000_000)).toEqual({ kind: 'catches_up', hour_ms: 2 * HOUR });
    expect(of(150, 30_000_000)).toEqual({ kind: 'catches_up', hour_ms: 2 * HOUR });
  });

  it('of 100 % or less, or of less than is recorded, never does', () => {
    expect(of(0)).toEqual({ kind: 'stops' });
    expect(of(100)).toEqual({ kind: 'never', percent: 100 });
    expect(of(500, 1_500_000)).toEqual({ kind: 'never', percent: 75 });
    // While nothing is recorded, a data rate says nothing.
    expect(of(200, 1, 0)).toEqual({ kind: 'catches_up', hour_ms: HOUR });
  });
});

it('the line at the top names a case before alarms, and nothing while all is well', () => {
  const alarm = { kind: 'clock', camera: null, since: '', text: '' };
  expect(headline(edge())).toBeNull();
  expect(headline(edge({ alarms: [alarm, alarm] }))).toEqual({ kind: 'alarms', count: 2 });
  expect(headline(edge({ case: 1, alarms: [alarm] }))).toEqual({ kind: 'case', number: 1 });
});

it('a node that sends nowhere is no edge node, unless its storage fails', () => {
  expect(isEdge(edge({ recorder: null, sending: false }))).toBe(false);
  expect(isEdge(edge({ recorder: null, sending: false, case: 3 }))).toBe(true);
  expect(isEdge(edge({ recorder: null }))).toBe(true);
  expect(isEdge(edge({ sending: false }))).toBe(true);
});

it('an edge node that was not heard for a while is away', () => {
  const now = Date.parse('2026-11-22T12:00:00Z');
  expect(isHeard('2026-11-22T11:59:50Z', now)).toBe(true);
  expect(isHeard('2026-11-22T11:59:00Z', now)).toBe(false);
  expect(isHeard(null, now)).toBe(false);
});

it('what was not sent is counted, and no other gap', () => {
  const item = (from: number, to: number, part: Partial<CoverageItem>): CoverageItem => ({
    from: formatTime(from), to: formatTime(to), state: 'gap', origin: null, backfill: null, reason: 'not_sent', detail: null, recorder: null, replaces: null, ...part,
  });
  expect(notSent([
    item(0, 10_000, { state: 'unknown', reason: 'not_configured' }), item(10_000, 17_500, {}), item(20_000, 30_000, { reason: 'overwritten' }),
    item(30_000, 40_000, { state: 'held', reason: null }), item(40_000, 42_000, {}), item(42_000, 50_000, { state: 'unknown', reason: 'not_yet' }),
  ])).toBe(9_500);
});
