import { describe, expect, it } from 'vitest';
import type { Camera, NodeStatus, Snapshot, StatusMessage } from './api/types';
import { type Known, reduce } from './store';

const camera = (recording: boolean): Camera => ({ id: 'gate', recording, streams: [{ stream: 'main' }] }) as unknown as Camera;
const snapshot = (): Snapshot => ({ node: { name: 'n', now: '1' } as unknown as NodeStatus, cameras: { gate: camera(true) }, exports: {}, scans: {} });

function known(): Known {
  const outcome = reduce(null, { seq: 7, type: 'snapshot', value: snapshot() });
  if (outcome.kind !== 'known') throw new Error(outcome.why);
  return outcome.known;
}

function after(...messages: StatusMessage[]): Known {
  return messages.reduce((state, message) => {
    const outcome = reduce(state, message);
    if (outcome.kind !== 'known') throw new Error(outcome.why);
    return outcome.known;
  }, known());
}

describe('a change', () => {
  it('replaces its place and nothing else', () => {
    const before = known();
    const outcome = reduce(before, { seq: 8, type: 'change', path: ['cameras', 'gate'], value: camera(false) });
    expect(outcome).toMatchObject({ kind: 'known', known: { seq: 8, value: { cameras: { gate: { recording: false } } } } });
    expect(before.value.cameras['gate']?.recording).toBe(true);
    if (outcome.kind === 'known') expect(outcome.known.value.node).toBe(before.value.node);
  });

  it('adds what was not there, at any depth', () => {
    expect(after({ seq: 8, type: 'change', path: ['cameras', 'dock'], value: camera(true) }).value.cameras).toHaveProperty('dock');
    expect(after({ seq: 8, type: 'change', path: ['node', 'name'], value: 'm' }).value.node.name).toBe('m');
  });

  it('without a value takes its place out', () => {
    expect(after({ seq: 8, type: 'change', path: ['cameras', 'gate'] }).value.cameras).toEqual({});
    expect(after({ seq: 8, type: 'change', path: ['cameras', 'gate'], value: null }).value.cameras).toEqual({});
  });

  it('cannot reach what every object has', () => {
    const value = after({ seq: 8, type: 'change', path: ['cameras', '__proto__'], value: { polluted: true } }).value;
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(Object.getPrototypeOf(value.cameras)).toBe(Object.prototype);
    after({ seq: 8, type: 'change', path: ['__proto__', 'polluted'], value: true });
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('the account is lost', () => {
  it.each<[string, StatusMessage]>([
    ['when a message is missing', { seq: 9, type: 'alive', now: '2' }],
    ['when one comes twice', { seq: 7, type: 'alive', now: '2' }],
    ['when a change has no place', { seq: 8, type: 'change', path: [] }],
    ['when a change is deeper than anything', { seq: 8, type: 'change', path: Array<string>(9).fill('x') }],
    ['when a snapshot is none', { seq: 1, type: 'snapshot', value: null as unknown as Snapshot }],
  ])('%s', (_, message) => {
    expect(reduce(known(), message).kind).toBe('lost');
  });

  it('when a change comes before the snapshot', () => {
    expect(reduce(null, { seq: 1, type: 'alive', now: '1' }).kind).toBe('lost');
  });
});

it('a snapshot of a node that knows no exports and scans has none', () => {
  const value = { node: { name: 'n' }, cameras: {} } as unknown as Snapshot;
  expect(after({ seq: 1, type: 'snapshot', value }).value).toMatchObject({ exports: {}, scans: {} });
});

it('a snapshot begins anew, whatever its number', () => {
  expect(after({ seq: 1, type: 'snapshot', value: snapshot() }).seq).toBe(1);
});

it('a kind of message of a later node is counted and passed over', () => {
  const state = after({ seq: 8, type: 'later' } as unknown as StatusMessage, { seq: 9, type: 'alive', now: '5' });
  expect(state.value.node.now).toBe('5');
});
