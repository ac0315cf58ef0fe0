/**
 * Where one is: the part of the address behind `#`.
 *
 * It is never sent to a server, which matters for the code of the first run, and lets the server know one path only.
 * Everything that one would want to send to a colleague (which camera, which moment) is in it.
 */

import { formatTime, parseTime } from './time';

/** A place in the console. */
export type Route =
  | { page: 'setup'; code: string }
  | { page: 'live'; camera?: string }
  | { page: 'timeline'; camera?: string; at?: number; span_ms?: number }
  | { page: 'exports' }
  | { page: 'cameras' }
  | { page: 'failover' }
  | { page: 'edge' }
  | { page: 'users' };

/** The name of a place. */
export type Page = Route['page'];

/** Shortest and longest window that a link may ask the timeline for. */
const SPAN_MS_MIN = 10_000;
const SPAN_MS_MAX = 400 * 86_400_000;

/** Reads the part behind `#`, with or without it. What cannot be read is the live page. */
export function parseRoute(hash: string): Route {
  const text = hash.replace(/^#?\/?/, '');
  const [path = '', search = ''] = text.split('?', 2);
  const [page, part] = path.split('/');
  const query = new URLSearchParams(search);
  switch (page) {
    case 'setup':
      return { page, code: decode(part ?? '') };
    case 'timeline': {
      const route: Route = { page };
      const camera = query.get('camera');
      if (camera) route.camera = camera;
      const at = parseTime(query.get('at') ?? '');
      if (at !== null) route.at = at;
      const span = Number(query.get('span') ?? Number.NaN) * 1000;
      if (Number.isFinite(span) && span > 0) route.span_ms = Math.min(Math.max(span, SPAN_MS_MIN), SPAN_MS_MAX);
      return route;
    }
    case 'exports':
    case 'cameras':
    case 'failover':
    case 'edge':
    case 'users':
      return { page };
    default: {
      const camera = query.get('camera');
      return camera ? { page: 'live', camera } : { page: 'live' };
    }
  }
}

/** Writes a place, with the `#`, so that [`parseRoute`] reads the same. */
export function formatRoute(route: Route): string {
  if (route.page === 'setup') return `#/setup/${encodeURIComponent(route.code)}`;
  const query = new URLSearchParams();
  if ('camera' in route && route.camera !== undefined) query.set('camera', route.camera);
  if (route.page === 'timeline') {
    if (route.at !== undefined) query.set('at', formatTime(route.at));
    if (route.span_ms !== undefined) query.set('span', String(Math.round(route.span_ms / 1000)));
  }
  const search = query.toString();
  return `#/${route.page}${search === '' ? '' : `?${search}`}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
