import { describe, expect, it } from 'vitest';
import type { Replenished, Replenishment } from './api/types';
import { account, standing } from './backfill';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const LATER = '2026-11-22T12:00:30Z';
const south = (rests_until: string | null = null): Replenished['sources'][number] => ({ kind: 'recorder', name: 'south', rests_until });

function item(part: Partial<Replenished> = {}): Replenished {
  return { camera: 'gate', stream: 'main', missing_ms: 10_000, nowhere_ms: 0, running: null, sources: [south()], last: null, ...part };
}

const running: Replenished['running'] = { kind: 'recorder', source: 'south', from: '', to: '', since: '', bytes: 1, bits_per_second: 1 };
const last = (end: 'no_room' | 'over'): Replenished['last'] => ({
  kind: 'recorder', source: 'south', from: '', to: '', at: '', end, detail: null, filled_ms: 0, bytes: 0, bits_per_second: 0, took_ms: 0,
});

describe('why a stream gets nothing', () => {
  const kind = (part: Partial<Replenished>, paused = false): string => standing(item(part), paused, NOW).kind;

  it('is said by what would have to change', () => {
    expect(kind({ running })).toBe('comes');
    expect(kind({ missing_ms: 0 })).toBe('whole');
    expect(kind({ nowhere_ms: 10_000 })).toBe('nowhere');
    expect(kind({ sources: [] })).toBe('nobody');
    expect(kind({ last: last('no_room') })).toBe('noRoom');
    expect(kind({ last: last('over') })).toBe('waits');
    expect(kind({})).toBe('waits');
  });

  it('is the pause only where something would come without it', () => {
    expect(kind({}, true)).toBe('paused');
    expect(kind({ nowhere_ms: 10_000 }, true)).toBe('nowhere');
    expect(kind({ sources: [] }, true)).toBe('nobody');
  });

  it('is that sources are left alone only when all of them are, until the first is asked again', () => {
    const rests = ['2026-11-22T12:10:00Z', LATER].map(south);
    expect(standing(item({ sources: rests }), false, NOW)).toEqual({ kind: 'rests', until: Date.parse(LATER) });
    expect(kind({ sources: [...rests, south()] })).toBe('waits');
    expect(kind({ sources: [south('2026-11-22T11:59:00Z')] })).toBe('waits');
  });
});

it('the account tells what still comes from what stays missing, and loses nothing of either', () => {
  const items = [
    item({ camera: 'c', nowhere_ms: 4_000 }), item({ camera: 'b', running }), item({ camera: 'a', nowhere_ms: 10_000 }), item({ camera: 'd', sources: [], missing_ms: 500 }),
    item({ camera: 'e', missing_ms: 0 }), item({ camera: 'b', stream: 'sub' }),
  ];
  const all: Replenishment = { paused: false, bits_per_second_max: null, bits_per_second: 1, cards: false, missing_ms: 40_500, nowhere_ms: 14_000, items };
  const names: Record<string, string> = { c: 'Annex' };
  const found = account(all, NOW, (id) => names[id] ?? id);
  expect(found.open.map(({ item: { camera, stream } }) => `${camera} ${stream}`)).toEqual(['c main', 'b main', 'b sub']);
  expect(found.closed.map(({ item: { camera } }) => camera)).toEqual(['a', 'd']);
  expect([found.open_ms, found.closed_ms]).toEqual([26_000, 14_500]);
  expect(found.open_ms + found.closed_ms).toBe(all.missing_ms);
});
