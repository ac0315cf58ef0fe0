import { describe, expect, it } from 'vitest';
import type { CoverageItem } from '../api/types';
import { formatTime } from '../time';
import { begins, CoverageTiles, isLoss, kindOf, levelFor, stretchAt, stretches, TILE_BUCKETS, type Stretch } from './coverage';
import { LETTERS } from './draw';
import type { View } from './view';

const item = (from: number, to: number, part: Partial<CoverageItem> = {}): CoverageItem => ({
  from: formatTime(from), to: formatTime(to), state: 'held', origin: 'primary', backfill: null, reason: null, detail: null,
  recorder: null, replaces: null, ...part,
});

describe('a stretch', () => {
  it.each<[Partial<CoverageItem>, string]>([
    [{}, 'primary'],
    [{ origin: 'standby' }, 'standby'],
    [{ origin: 'edge', backfill: 'done' }, 'edge'],
    [{ state: 'gap', origin: null, reason: 'camera_silent' }, 'gap'],
    [{ state: 'gap', origin: null, backfill: 'running' }, 'backfill'],
    [{ state: 'gap', origin: null, reason: 'not_sent' }, 'backfill'],
    [{ state: 'expired', origin: null }, 'expired'],
    [{ state: 'unscheduled', origin: null }, 'unscheduled'],
    [{ state: 'no_alarm', origin: null }, 'no_alarm'],
    [{ state: 'unknown', origin: null, reason: 'disk_absent' }, 'unknown'],
    [{ state: 'unknown', origin: null, reason: 'not_yet' }, 'pending'],
    [{ state: 'new' as 'held', origin: null }, 'unknown'],
  ])('%o looks like %s', (part, kind) => {
    expect(kindOf(item(0, 1, part))).toBe(kind);
  });

  it('of the same look and reason is one with its neighbour; of another reason it is not', () => {
    const gap = { state: 'gap' as const, origin: null, reason: 'connection_lost' as const };
    const row = stretches([item(0, 10), item(10, 20), item(20, 30, gap), item(30, 40, { ...gap, reason: 'camera_silent' }), item(50, 50)]);
    expect(row.map(({ from, to, kind }) => [from, to, kind])).toEqual([[0, 20, 'primary'], [20, 30, 'gap'], [30, 40, 'gap']]);
  });

  it('recorded by another recorder, or in the place of another, is not one with its neighbour', () => {
    const standby = { origin: 'standby' as const, recorder: 's', replaces: 'p' };
    const row = stretches([
      item(0, 10, standby), item(10, 20, standby), item(20, 30, { ...standby, replaces: 'q' }), item(30, 40, { ...standby, recorder: 'z', replaces: 'q' }),
      item(40, 50, { recorder: 'p' }), item(50, 60, { recorder: 'q' }),
    ]);
    expect(row.map(({ from, to, recorder, replaces }) => [from, to, recorder, replaces])).toEqual([
      [0, 20, 's', 'p'], [20, 30, 's', 'q'], [30, 40, 'z', 'q'], [40, 60, null, null],
    ]);
  });

  it('is found by a label, its begin included and its end not', () => {
    const row = stretches([item(0, 10), item(20, 30)]);
    expect(stretchAt(row, 0)?.from).toBe(0);
    expect(stretchAt(row, 10)).toBeNull();
    expect(stretchAt(row, 29.9)?.from).toBe(20);
    expect(stretchAt(row, 30)).toBeNull();
    expect(stretchAt([], 3)).toBeNull();
  });
});

it('what an edge node has on its way is no loss until it is later than it may be', () => {
  const now = 1_000_000;
  const gap = (from: number, part: Partial<CoverageItem>): boolean =>
    isLoss(stretches([item(from, now, { state: 'gap', origin: null, ...part })])[0] as Stretch, now);
  expect(gap(now - 120_000, { reason: 'not_sent' })).toBe(false);
  expect(gap(now - 200_000, { reason: 'not_sent' })).toBe(true);
  expect(gap(now - 1_000, { reason: 'camera_silent' })).toBe(true);
  expect(gap(now - 1_000, { reason: 'recorder_down', backfill: 'pending' })).toBe(true);
  expect(isLoss(stretches([item(0, 10)])[0] as Stretch, now)).toBe(false);
});

it('a row begins where it first says more than that the camera was not known', () => {
  const before = item(0, 10, { state: 'unknown', origin: null, reason: 'not_configured' });
  const absent = { state: 'unknown' as const, origin: null, reason: 'disk_absent' as const };
  expect(begins(stretches([before, item(10, 20)]))).toBe(10);
  expect(begins(stretches([before, item(10, 20, { state: 'gap', origin: null, reason: 'camera_silent' }), item(20, 30)]))).toBe(10);
  expect(begins(stretches([before, item(10, 20, absent)]))).toBe(10);
  expect(begins(stretches([before, item(10, 20, { ...absent, reason: 'not_yet' })]))).toBeNull();
  expect(begins([])).toBeNull();
});

it('no two kinds share a letter', () => {
  expect(new Set(Object.values(LETTERS)).size).toBe(Object.keys(LETTERS).length);
});

it('the resolution is about a pixel, and exact where a second is wider than one', () => {
  expect(levelFor({ from: 0, to: 60_000 }, 1000).bucket_ms).toBe(0);
  expect(levelFor({ from: 0, to: 86_400_000 }, 1000).bucket_ms).toBe(120_000);
  expect(levelFor({ from: 0, to: 400 * 86_400_000 }, 1000).bucket_ms).toBe(21_600_000);
});

describe('tiles', () => {
  const DAY = 86_400_000;
  const NOW = 1000 * DAY;

  function made(answer?: (view: View) => CoverageItem[] | Promise<CoverageItem[]>) {
    const asked: { camera: string; view: View; buckets: number | undefined }[] = [];
    const state = { now: NOW, changes: 0, errors: 0 };
    const tiles = new CoverageTiles(
      async (camera, view, buckets) => {
        asked.push({ camera, view, buckets });
        return answer ? answer(view) : [item(view.from, view.to)];
      },
      () => { state.changes += 1; },
      () => { state.errors += 1; },
      () => state.now,
    );
    const settle = async (): Promise<void> => {
      for (let i = 0; i < 50; i += 1) await Promise.resolve();
    };
    return { tiles, asked, state, settle };
  }

  const window = { from: NOW - 30 * DAY, to: NOW - 29 * DAY };

  it('cover the window, are asked for once, and join without a seam', async () => {
    const { tiles, asked, settle } = made();
    expect(tiles.row('gate', window, 1000)).toEqual([]);
    await settle();
    const row = tiles.row('gate', window, 1000);
    expect(row).toHaveLength(1);
    expect(row[0]?.from).toBeLessThanOrEqual(window.from);
    expect(row[0]?.to).toBeGreaterThanOrEqual(window.to);
    const count = asked.length;
    tiles.row('gate', { from: window.from + 1000, to: window.to + 1000 }, 1000);
    await settle();
    expect(asked.length).toBe(count);
    for (const { view, buckets } of asked) expect((view.to - view.from) / (buckets as number)).toBe(120_000);
    expect(asked.every(({ buckets }) => buckets === TILE_BUCKETS)).toBe(true);
  });

  it('of another resolution fill in until the right ones are there', async () => {
    const { tiles, settle } = made();
    tiles.row('gate', window, 1000);
    await settle();
    const closer = { from: window.from, to: window.from + DAY / 4 };
    expect(tiles.row('gate', closer, 1000)).not.toEqual([]);
    expect(tiles.row('dock', closer, 1000)).toEqual([]);
  });

  it('at the present are asked for again after a while, old ones much later, the future never', async () => {
    const { tiles, asked, state, settle } = made();
    const present = { from: NOW - 60_000, to: NOW + 3_600_000 };
    tiles.row('gate', present, 1000);
    await settle();
    const first = asked.length;
    expect(asked.every(({ view }) => view.from <= NOW)).toBe(true);
    state.now += 5_000;
    tiles.row('gate', present, 1000);
    await settle();
    expect(asked.length).toBeGreaterThan(first);
    const old = made();
    old.tiles.row('gate', window, 1000);
    await old.settle();
    const once = old.asked.length;
    old.state.now += 60_000;
    old.tiles.row('gate', window, 1000);
    await old.settle();
    expect(old.asked.length).toBe(once);
    old.state.now += 600_000;
    old.tiles.row('gate', window, 1000);
    await old.settle();
    expect(old.asked.length).toBe(2 * once);
  });

  it('in which something is still to come are asked for again after seconds', async () => {
    const { tiles, asked, state, settle } = made(({ from, to }) => [item(from, to, { state: 'gap', origin: null, reason: 'not_sent' })]);
    const past = { from: window.from - 1_000_000_000, to: window.from - 1_000_000_000 + 3_600_000 };
    tiles.row('gate', past, 1000);
    await settle();
    const once = asked.length;
    state.now += 5_000;
    tiles.row('gate', past, 1000);
    await settle();
    expect(asked.length).toBe(once);
    state.now += 6_000;
    tiles.row('gate', past, 1000);
    await settle();
    expect(asked.length).toBe(2 * once);
  });

  it('that could not be fetched are told of, and tried again only after a while', async () => {
    const { tiles, asked, state, settle } = made(() => Promise.reject(new Error('no')));
    tiles.row('gate', window, 1000);
    await settle();
    const once = asked.length;
    expect(state.errors).toBe(once);
    tiles.row('gate', window, 1000);
    await settle();
    expect(asked.length).toBe(once);
    state.now += 6_000;
    tiles.row('gate', window, 1000);
    await settle();
    expect(asked.length).toBe(2 * once);
  });

  it('are asked for a few at a time, for any number of cameras', () => {
    const { tiles, asked } = made(() => new Promise(() => {}));
    for (let n = 0; n < 64; n += 1) tiles.row(`c${n}`, window, 1000);
    expect(asked.length).toBe(3);
  });
});
