import { describe, expect, it } from 'vitest';
import { formatTime, fromLocalInput, parseTime, toLocalInput } from './time';

describe('times of the API', () => {
  it('keep their microseconds on the way there and back', () => {
    for (const text of ['2026-11-22T00:48:56.024301Z', '1970-01-01T00:00:00.000001Z', '2099-12-31T23:59:59.999999Z']) {
      expect(formatTime(parseTime(text) as number)).toBe(text);
    }
  });

  it('carry over into the second instead of showing a million microseconds', () => {
    expect(formatTime(Date.UTC(2026, 0, 1) + 999.99999)).toBe('2026-01-01T00:00:01.000000Z');
  });

  it('are read with any fraction and any zone', () => {
    expect(parseTime('2026-11-22T01:00:00.5+01:00')).toBe(Date.UTC(2026, 10, 22) + 500);
    expect(parseTime('2026-11-22T00:00:00Z')).toBe(Date.UTC(2026, 10, 22));
    expect(parseTime('2026-11-22T00:00:00.123456789Z')).toBe(Date.UTC(2026, 10, 22) + 123.456);
  });

  it('are null where there is none', () => {
    for (const text of ['', '2026-11-22', '2026-13-01T00:00:00Z', '2026-11-22T00:00:00', 'now', '2026-11-22T00:00:00.Z']) {
      expect(parseTime(text)).toBeNull();
    }
  });
});

it('a time survives the field of a form to the second', () => {
  const at = new Date(2026, 10, 22, 14, 3, 20).getTime();
  expect(fromLocalInput(toLocalInput(at + 0.4))).toBe(at);
  expect(fromLocalInput('')).toBeNull();
});
