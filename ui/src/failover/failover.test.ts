import { describe, expect, it } from 'vitest';
import { ApiError } from '../api/client';
import type { Lists, Primary, RegisterItem, Registration, Running } from '../api/failover';
import { apply, type Asked } from './apply';
import {
  type Added, count, type Draft, NOTHING, primaryOf, settle, setupOf, takesOverAfter, withAdded, withChange, withoutAdded, withRemoved, withSetup,
} from './draft';
import { drillDue, headline, isDrillable, isNormal, isReplaceable, waiting, worstGap } from './state';

const primary = (role: string, part: Partial<Primary> = {}): Primary => ({
  role, name: role.toUpperCase(), address: `192.0.2.${role.length}:8443`, mac: null, mode: 'auto', priority: 1, epoch: 1, state: 'normal', since: null,
  missed: 0, why: null, detail: null, version: '0.1.0', version_differs: false, waits: false, left_to_other: false, cameras: 2, bits_per_second: 8e6,
  missing: [], covered_alone: [], last_backup: null, backup_problem: null, prebuffer: false, prebuffer_bytes: 9e6, drilling: false, tested: null, ...part,
});
const running = (role: string, part: Partial<Running> = {}): Running => ({
  role, name: role.toUpperCase(), since: '2026-11-22T12:00:00Z', cause: 'threshold', claim: 'held', normal: false, returning: false, cameras: 2, recorded: 2, lacks: [], ...part,
});
const lists = (monitoring: Primary[], failovers: Running[] = []): Lists => ({
  setup: { check_interval_ms: 1000, setup_backup_interval_s: 600, auto_failover_threshold: 3, edited: false }, takes_over_after_ms: 4000,
  capacity: { cameras: 64, bits_per_second: 6e8, bound: 'line' }, coordinator: null, drill_every_s: null, monitoring, failovers,
});
const added = (address: string): Added => ({ address, name: address, mac: null, login: { user: 'admin', password: 'x' }, beside: false, refused: null });

describe('a draft', () => {
  it('counts each change, and none that says what is in force', () => {
    const is = lists([primary('a'), primary('b')]);
    let draft = withSetup(NOTHING, { check_interval_ms: 500, auto_failover_threshold: 3 });
    draft = withChange(withChange(draft, 'a', { mode: 'manual', priority: 1 }), 'a', { prebuffer: true });
    draft = withAdded(withRemoved(draft, 'b', true), added('192.0.2.9'));
    expect(settle(draft, is)).toEqual({
      setup: { check_interval_ms: 500 }, changed: { a: { mode: 'manual', prebuffer: true } }, removed: ['b'], added: [added('192.0.2.9')],
    });
    expect(count(settle(draft, is))).toBe(5);
    expect(count(NOTHING)).toBe(0);
  });

  it('drops what is about a recorder that is gone, or that is to leave', () => {
    const draft = withRemoved(withChange(withChange(NOTHING, 'gone', { priority: 9 }), 'a', { priority: 9 }), 'a', true);
    expect(settle(withRemoved(draft, 'gone', true), lists([primary('a')]))).toEqual({ ...NOTHING, removed: ['a'] });
  });

  it('says what will be, and can be taken back', () => {
    const is = lists([primary('a')]);
    const draft = withChange(withSetup(NOTHING, { auto_failover_threshold: 5 }), 'a', { mode: 'manual' });
    expect(setupOf(draft, is)).toEqual({ check_interval_ms: 1000, setup_backup_interval_s: 600, auto_failover_threshold: 5 });
    expect(primaryOf(draft, primary('a')).mode).toBe('manual');
    expect(withRemoved(withRemoved(NOTHING, 'a', true), 'a', false)).toEqual(NOTHING);
    expect(withoutAdded(withAdded(NOTHING, added('x')), 'x')).toEqual(NOTHING);
  });

  it('has each address once', () => {
    expect(withAdded(withAdded(NOTHING, added('x')), { ...added('x'), beside: true }).added).toEqual([{ ...added('x'), beside: true }]);
  });
});

it('a failure lasts until the threshold, and at most one check longer', () => {
  expect(takesOverAfter({ check_interval_ms: 30_000, setup_backup_interval_s: 1, auto_failover_threshold: 3 })).toEqual({ about_ms: 90_000, most_ms: 120_000 });
});

describe('Apply', () => {
  const words = {
    setup: 'setup', setupName: 'setup', removed: (name: string) => `-${name}`, changed: (name: string) => `~${name}`, added: (name: string) => `+${name}`,
    refused: (name: string, why: string) => `${name}! ${why}`, explain: (error: unknown) => (error as ApiError).detail,
  };

  function asked(refuse: (what: string) => string | null): { api: Asked; order: string[] } {
    const order: string[] = [];
    const ask = (what: string): Promise<void> => {
      order.push(what);
      const why = refuse(what);
      return why === null ? Promise.resolve() : Promise.reject(new ApiError(409, 'no', why));
    };
    const answer = ({ address }: RegisterItem): Registration => {
      const why = refuse(`+${address}`);
      return { address, registered: why === null, role: null, name: why === null ? `N${address}` : null, code: why === null ? null : 'login_refused', detail: why };
    };
    const register = async (items: RegisterItem[]): Promise<Registration[]> => {
      await ask('register');
      return items.map(answer);
    };
    return { order, api: { setUp: () => ask('setup'), remove: (role) => ask(`-${role}`), change: (role) => ask(`~${role}`), register } };
  }

  const draft: Draft = { setup: { check_interval_ms: 500 }, changed: { a: { mode: 'manual' } }, removed: ['b'], added: [added('x'), added('y')] };
  const is = lists([primary('a'), primary('b')]);

  it('leaves nothing when all was taken', async () => {
    const { api, order } = asked(() => null);
    const { left, results } = await apply(draft, is, api, words);
    expect(left).toEqual(NOTHING);
    expect(order).toEqual(['setup', '-b', '~a', 'register']);
    expect(results.map(({ text }) => text)).toEqual(['setup', '-B', '~A', '+Nx', '+Ny']);
  });

  it('shows a login to nobody but the recorder that a scan found', async () => {
    const { api } = asked(() => null);
    const sent: RegisterItem[] = [];
    const register = (items: RegisterItem[]): Promise<Registration[]> => {
      sent.push(...items);
      return api.register(items);
    };
    const found = { ...added('x'), key: '5f'.repeat(32) };
    await apply({ ...NOTHING, added: [found, added('y')] }, is, { ...api, register }, words);
    expect(sent.map(({ address, key }) => [address, key])).toEqual([['x', '5f'.repeat(32)], ['y', undefined]]);
  });

  it('keeps what was refused, with the reason, and carries out the rest', async () => {
    const { api } = asked((what) => (['-b', '+x'].includes(what) ? 'why not' : null));
    const { left, results } = await apply(draft, is, api, words);
    expect(left).toEqual({ ...NOTHING, removed: ['b'], added: [{ ...added('x'), refused: { code: 'login_refused', detail: 'why not' } }] });
    expect(results.filter(({ failed }) => failed).map(({ text }) => text)).toEqual(['B! why not', 'x! why not']);
  });

  it('loses nothing when the node does not answer', async () => {
    const { api } = asked(() => 'away');
    const { left, results } = await apply(draft, is, api, words);
    expect(left).toEqual(draft);
    expect(results.every(({ failed }) => failed)).toBe(true);
  });
});

describe('the line at the top', () => {
  it('names failures that nobody covers before failovers that run', () => {
    const failed = primary('a', { state: 'failed' });
    expect(headline(lists([primary('a')]))).toBeNull();
    expect(headline(lists([failed], [running('a')]))).toEqual({ kind: 'covers', names: ['A'] });
    expect(headline(lists([failed, primary('b', { state: 'records_nothing' })], [running('a')]))).toEqual({ kind: 'open', names: ['B'] });
    expect(headline(lists([primary('b', { state: 'failed', left_to_other: true })]))).toBeNull();
  });
});

describe('a command', () => {
  it('is offered where the standby would not refuse it', () => {
    expect(isNormal(primary('a'))).toBe(true);
    expect(isNormal(primary('a', { missing: ['cam1'] }))).toBe(false);
    expect(isNormal(primary('a', { missing: ['cam1'], covered_alone: ['cam1'] }))).toBe(true);
    expect(isNormal(primary('a', { state: 'missed' }))).toBe(false);
    expect(isDrillable(primary('a'), undefined)).toBe(true);
    expect(isDrillable(primary('a', { drilling: true }), undefined)).toBe(false);
    expect(isDrillable(primary('a', { state: 'failed' }), undefined)).toBe(false);
    expect(isDrillable(primary('a'), running('a'))).toBe(false);
    expect(isReplaceable(primary('a'), undefined)).toBe(false);
    expect(isReplaceable(primary('a', { state: 'failed' }), undefined)).toBe(true);
    expect(isReplaceable(primary('a'), running('a'))).toBe(true);
    expect(isReplaceable(primary('a'), running('a', { returning: true }))).toBe(false);
  });

  it('of Stop lets the first of those that wait begin', () => {
    const all = [primary('a', { waits: true, priority: 5 }), primary('b', { waits: true, priority: 2 }), primary('c')];
    expect(waiting(lists(all)).map(({ role }) => role)).toEqual(['b', 'a']);
  });
});

it('a report says the worst, and that it does not know when it does not', () => {
  expect(worstGap([{ gap_ms: 0 }, { gap_ms: 1200 }])).toBe(1200);
  expect(worstGap([{ gap_ms: 0 }, { gap_ms: null }])).toBeNull();
  expect(worstGap([])).toBeNull();
});

it('a drill is due an interval after the last one, at once without one, and never by hand', () => {
  const now = Date.parse('2026-11-22T12:00:00Z');
  const tested = (at: string): ReturnType<typeof primary> => primary('a', { tested: { at, passed: true, detail: null, cameras: 1, failed: [] } });
  expect(drillDue(null, primary('a'), now)).toBeNull();
  expect(drillDue(3600, primary('a'), now)).toBe(now);
  expect(drillDue(3600, tested('2026-11-22T11:30:00Z'), now)).toBe(now + 1_800_000);
  expect(drillDue(3600, tested('2026-11-22T10:30:00Z'), now)).toBe(now);
  // The clock was set back since.
  expect(drillDue(3600, tested('2026-11-22T12:30:00Z'), now)).toBe(now);
});
