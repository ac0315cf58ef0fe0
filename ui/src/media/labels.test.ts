import { expect, it } from 'vitest';
import { Labels } from './labels';

it('labels follow media time, and jump where a session began anew', () => {
  const labels = new Labels(1_000_000);
  expect(labels.at(2.5)).toBe(1_002_500);
  labels.from(10, 1_060_000);
  expect(labels.at(9.9)).toBe(1_009_900);
  expect(labels.at(10)).toBe(1_070_000);
});

it('a session that was overtaken before anything of it was there leaves no trace', () => {
  const labels = new Labels(0);
  labels.from(10, 500);
  labels.from(10, 900);
  expect(labels.at(10)).toBe(10_900);
  expect(labels.at(9)).toBe(9_000);
});

it('does not grow with the number of sessions', () => {
  const labels = new Labels(0);
  for (let n = 1; n <= 1000; n += 1) labels.from(n, n);
  expect(labels.at(1000)).toBe(1_001_000);
  expect(labels.at(990)).toBe(990_990);
});
