import { expect, it } from 'vitest';
import { formatRoute, parseRoute, type Route } from './routes';

it('every place is found again by its address', () => {
  const places: Route[] = [
    { page: 'setup', code: 'AAAA-BBBB' }, { page: 'live' }, { page: 'live', camera: 'gate' }, { page: 'exports' }, { page: 'cameras' },
    { page: 'failover' }, { page: 'edge' }, { page: 'users' }, { page: 'timeline' }, { page: 'timeline', camera: 'gate', at: Date.UTC(2026, 10, 22) + 0.25, span_ms: 3_600_000 },
  ];
  for (const place of places) expect(parseRoute(formatRoute(place))).toEqual(place);
});

it('the code of the first run is read from the link that a node prints', () => {
  expect(parseRoute('#/setup/ABCD-EFGH')).toEqual({ page: 'setup', code: 'ABCD-EFGH' });
});

it('an id in an address stays an id', () => {
  const place: Route = { page: 'live', camera: '../users?x=1&y=%2e#z' };
  expect(parseRoute(formatRoute(place))).toEqual(place);
});

it('what cannot be read is the live page, and what is out of range is left out or bounded', () => {
  for (const hash of ['', '#', '#/', '#/nowhere', '#//', '#/live/x?y', '#/%']) expect(parseRoute(hash)).toEqual({ page: 'live' });
  expect(parseRoute('#/setup/%E0%A4%A')).toEqual({ page: 'setup', code: '%E0%A4%A' });
  expect(parseRoute('#/timeline?at=yesterday&span=-4')).toEqual({ page: 'timeline' });
  expect(parseRoute('#/timeline?span=1')).toEqual({ page: 'timeline', span_ms: 10_000 });
  expect(parseRoute('#/timeline?span=1e300')).toEqual({ page: 'timeline', span_ms: 400 * 86_400_000 });
});
