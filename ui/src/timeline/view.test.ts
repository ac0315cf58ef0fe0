import { describe, expect, it } from 'vitest';
import { around, follow, opening, pan, SPAN_MS_MAX, SPAN_MS_MIN, ticks, toLabel, toX, zoom } from './view';

const HOUR = 3_600_000;
const view = { from: 0, to: HOUR };

describe('a window', () => {
  it('finds a label again at its place', () => {
    for (const label of [0, 1, HOUR / 3, HOUR]) expect(toLabel(view, 777, toX(view, 777, label))).toBeCloseTo(label, 6);
  });

  it('keeps what is under the pointer where it is when it is zoomed', () => {
    const closer = zoom(view, 0.5, HOUR / 4);
    expect(closer.to - closer.from).toBe(HOUR / 2);
    expect(toX(closer, 1000, HOUR / 4)).toBeCloseTo(250);
    const back = zoom(closer, 2, HOUR / 4);
    expect(back.from).toBeCloseTo(0);
    expect(back.to).toBeCloseTo(HOUR);
  });

  it('is zoomed about its middle when the cursor is elsewhere', () => {
    expect(zoom(view, 0.5, 99 * HOUR)).toEqual({ from: HOUR / 4, to: (HOUR * 3) / 4 });
  });

  it('has a shortest and a longest length', () => {
    const short = zoom(view, 1e-9, 10);
    expect(short.to - short.from).toBeCloseTo(SPAN_MS_MIN);
    const long = zoom(view, 1e9, 10);
    expect(long.to - long.from).toBeCloseTo(SPAN_MS_MAX);
    expect(around(0, 1)).toEqual({ from: -SPAN_MS_MIN / 2, to: SPAN_MS_MIN / 2 });
  });

  it('moves along before the cursor leaves it, and not otherwise', () => {
    expect(follow(view, HOUR / 2)).toBe(view);
    const moved = follow(view, HOUR * 0.99);
    expect(moved.from).toBeLessThan(HOUR * 0.99);
    expect(moved.to).toBeGreaterThan(HOUR * 1.5);
    expect(follow(view, -5).from).toBeLessThan(-5);
    expect(pan(view, 5)).toEqual({ from: 5, to: HOUR + 5 });
  });
});

describe('the ruler', () => {
  const utc = (): number => 0;

  it('has round times with room for their texts, at every length', () => {
    for (let span = SPAN_MS_MIN; span <= SPAN_MS_MAX; span *= 1.7) {
      const window = { from: 1_795_000_123_456, to: 1_795_000_123_456 + span };
      const marks = ticks(window, 1000, utc);
      expect(marks.length).toBeGreaterThan(0);
      marks.forEach((mark, i) => {
        expect(mark.at).toBeGreaterThanOrEqual(window.from);
        expect(mark.at).toBeLessThanOrEqual(window.to);
        const before = marks[i - 1];
        if (before) expect(toX(window, 1000, mark.at) - toX(window, 1000, before.at)).toBeGreaterThanOrEqual(76 - 1e-6);
      });
    }
  });

  it('begins days at midnight of the zone', () => {
    const india = (): number => 5.5 * HOUR;
    const marks = ticks({ from: Date.UTC(2026, 10, 20), to: Date.UTC(2026, 10, 24) }, 800, india);
    const days = marks.filter((mark) => mark.shows === 'day').map((mark) => new Date(mark.at).toISOString());
    expect(days).toContain('2026-11-20T18:30:00.000Z');
    expect(days.every((day) => day.endsWith('18:30:00.000Z'))).toBe(true);
  });

  it('stays at round times on the day on which summer time ends', () => {
    const change = Date.UTC(2026, 9, 25, 1);
    const berlin = (at: number): number => (at < change ? 2 : 1) * HOUR;
    const marks = ticks({ from: Date.UTC(2026, 9, 24, 12), to: Date.UTC(2026, 9, 26, 12) }, 900, berlin);
    for (const mark of marks) expect((mark.at + berlin(mark.at)) % (3 * HOUR)).toBe(0);
  });
});

describe('the first window', () => {
  const now = 1_000 * 24 * HOUR;
  const share = (from: number, to: number, begin: number): number => (begin - from) / (to - from);

  it('is the day before the present when there is that much', () => {
    const { from, to } = opening(now, now - 40 * 24 * HOUR);
    expect(to - from).toBe(24 * HOUR);
    expect(share(from, to, now)).toBeCloseTo(0.97);
  });

  it('is filled by what a young node knows', () => {
    const { from, to } = opening(now, now - HOUR);
    expect(share(from, to, now - HOUR)).toBeCloseTo(0.03);
    expect(share(from, to, now)).toBeCloseTo(0.97);
  });

  it.each([null, now - 2000, now + HOUR])('is never too short to read: begun %s', (begin) => {
    const { from, to } = opening(now, begin);
    expect(to - from).toBe(600_000);
  });
});
