import { describe, expect, it } from 'vitest';
import { overHole, rangeAt } from './ranges';
import { cushion, EdgeStep, JUMP_S, steer } from './steer';

const one = (start: number, end: number) => [{ start, end }];

describe('at the live edge', () => {
  it('nothing is done within the cushion', () => {
    expect(steer(one(0, 10), 10 - cushion(0.2), 0.2)).toEqual({ seek_s: null, rate: 1 });
  });

  it('a little behind is made up by playing faster, and too near by playing slower', () => {
    expect(steer(one(0, 10), 9.2, 0.2)).toEqual({ seek_s: null, rate: 1.08 });
    expect(steer(one(0, 10), 9.95, 0.2)).toEqual({ seek_s: null, rate: 0.95 });
  });

  it('more than a second behind is a jump, as at the begin, which is a key frame of long ago', () => {
    expect(steer(one(0, 4), 0, 0.2).seek_s).toBeCloseTo(4 - cushion(0.2));
    expect(steer(one(0, 10), 10 - cushion(0.2) - JUMP_S - 0.01, 0.2).seek_s).not.toBeNull();
  });

  it('a camera whose pieces last a second is not jumped at with each piece', () => {
    for (let behind = 0.1; behind < 1.9; behind += 0.1) expect(steer(one(0, 10), 10 - behind, 1).seek_s).toBeNull();
  });

  it('a tab that slept for an hour is at the edge again with one jump', () => {
    const { seek_s } = steer([{ start: 0, end: 20 }, { start: 3600, end: 3610 }], 12, 0.2);
    expect(seek_s).toBeCloseTo(3610 - cushion(0.2));
  });

  it('nothing is decided before there is anything', () => {
    expect(steer([], 0, 0.2)).toEqual({ seek_s: null, rate: 1 });
  });
});

describe('a hole', () => {
  const ranges = [{ start: 0, end: 4.08 }, { start: 4.213, end: 6 }];

  it('is jumped over when playing has come to it', () => {
    expect(overHole(ranges, 4.07)).toBe(4.213);
    expect(overHole(ranges, 4.1)).toBe(4.213);
    expect(steer(ranges, 4.1, 1).seek_s).toBeGreaterThanOrEqual(4.213);
  });

  it('is left alone as long as there is something to play before it', () => {
    expect(overHole(ranges, 3)).toBeNull();
    expect(overHole(ranges, 5)).toBeNull();
  });

  it('at the end is no hole', () => {
    expect(overHole(ranges, 6)).toBeNull();
    expect(overHole([], 1)).toBeNull();
  });

  it('before all that is buffered leads to its begin', () => {
    expect(overHole(one(5, 9), 1)).toBe(5);
  });
});

it('a stretch holds its begin and not its end', () => {
  expect(rangeAt(one(1, 2), 1)).not.toBeNull();
  expect(rangeAt(one(1, 2), 2)).toBeNull();
});

it('the step of the edge follows large pieces at once and forgets them by and by', () => {
  const step = new EdgeStep();
  for (let edge = 0; edge <= 3; edge += 1) step.moved(edge);
  expect(step.step_s).toBe(1);
  for (let edge = 3; edge < 30; edge += 0.2) step.moved(edge);
  expect(step.step_s).toBeLessThan(0.25);
  step.moved(4000);
  expect(step.step_s).toBeLessThan(0.25);
});
