/**
 * Questions to the node over HTTP: one function for each, and one kind of error.
 *
 * The session is a cookie that no script can read, so nothing here handles secrets. A path is made of parts that are
 * encoded one by one: an id never becomes another path.
 */

import { formatTime } from '../time';
import type {
  Camera, CameraConfig, CameraDraft, CameraTest, CoverageItem, ExportJob, ExportOrder, FrameItem, NewToken, Page, ProblemDocument,
  Replenishment, Role, Session, SessionItem, SetGrants, StreamName, Token, User,
} from './types';

const ROOT = 'api/v1';

/** Most pages of a list that are read to its end: a node that always has a next one must not hold the page for ever. */
const PAGES_MAX = 100;

/** What went wrong, in the words of the node where it gave some. */
export class ApiError extends Error {
  constructor(
    /** HTTP status; 0 when no answer came. */
    readonly status: number,
    /** The stable code of the problem; empty when no answer came. */
    readonly code: string,
    /** What happened and what to do; empty when the node said nothing. */
    readonly detail: string,
    /** What is wrong with single fields, by their names. */
    readonly fields: ReadonlyMap<string, string> = new Map(),
    /** When to try again. */
    readonly retry_after_s: number | null = null,
  ) {
    super(detail || code || `HTTP ${status}`);
    this.name = 'ApiError';
  }
}

type Query = Record<string, string | number | boolean | undefined>;

let loggedOut: () => void = () => {};

/** Sets what is called when the node says that the session has ended. */
export function onLoggedOut(call: () => void): void {
  loggedOut = call;
}

/** The address of a route: its parts, each encoded, and its parameters. */
export function address(parts: readonly string[], query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
  const text = search.toString();
  return `${ROOT}/${parts.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
}

/** The address of a WebSocket of the node, beside the page. */
export function socketAddress(parts: readonly string[], query: Query = {}): string {
  const url = new URL(address(parts, query), document.baseURI);
  url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:';
  url.hash = '';
  return url.href;
}

/** Asks, and returns an answer that says yes; throws an [`ApiError`] for any other. */
export async function ask(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const init: RequestInit = { method, headers: { Accept: 'application/json, */*;q=0.5' }, cache: 'no-store' };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    init.headers = { ...init.headers, 'Content-Type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, '', '');
  }
  if (response.ok) return response;
  const error = await problem(response);
  if (response.status === 401 && error.code === 'login_required') loggedOut();
  throw error;
}

async function problem(response: Response): Promise<ApiError> {
  let document: ProblemDocument = {};
  try {
    document = ((await response.json()) as ProblemDocument | null) ?? {};
  } catch {
    // A proxy in between answers in its own words; the status says enough.
  }
  const fields = new Map((Array.isArray(document.errors) ? document.errors : []).map((e) => [e.field, e.detail]));
  const after = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  return new ApiError(
    response.status, document.code ?? '', document.detail ?? '', fields, Number.isFinite(after) ? after : null,
  );
}

/** Asks a route with JSON, and returns what it answers. */
export async function json<T>(method: string, parts: readonly string[], query: Query = {}, body?: unknown, signal?: AbortSignal): Promise<T> {
  const response = await ask(method, address(parts, query), body, signal);
  const text = await response.text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

/** Reads a list to its end, or as many pages of it. */
export async function all<T>(
  parts: readonly string[], query: Query = {}, signal?: AbortSignal, pages_max = PAGES_MAX,
): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < pages_max; page += 1) {
    const answer = await json<Page<T>>('GET', parts, { ...query, cursor }, undefined, signal);
    items.push(...answer.items);
    if (answer.next === null || answer.next === undefined) break;
    cursor = answer.next;
  }
  return items;
}

/** A window of labels: from, up to but not including to. */
export interface Window {
  from: number;
  to: number;
}

const times = ({ from, to }: Window): { from: string; to: string } => ({ from: formatTime(from), to: formatTime(to) });

/** Every question that the console asks. */
export const api = {
  /** Whether there is a first run to do, and whether one is logged in; needs no login itself. */
  begin: () => json<{ needed: boolean; session: boolean }>('GET', ['setup']),
  setup: (code: string, password: string) => json<Session>('POST', ['setup'], {}, { code, password }),
  login: (user: string, password: string) => json<Session>('POST', ['login'], {}, { user, password }),
  logout: () => json<void>('POST', ['logout']),
  session: () => json<Session>('GET', ['session']),
  changePassword: (old: string, fresh: string) => json<void>('PUT', ['session', 'password'], {}, { old, new: fresh }),

  users: () => all<User>(['users']),
  addUser: (user: SetGrants & { name: string; password: string }) => json<User>('POST', ['users'], {}, user),
  changeUser: (name: string, change: SetGrants & { password?: string }) => json<User>('PUT', ['users', name], {}, change),
  removeUser: (name: string) => json<void>('DELETE', ['users', name]),
  tokens: () => all<Token>(['tokens']),
  addToken: (token: { name: string; expires: string | null; role: Role | null; cameras: Record<string, Role> | null }) => json<NewToken>('POST', ['tokens'], {}, token),
  removeToken: (id: string) => json<void>('DELETE', ['tokens', id]),
  sessions: () => all<SessionItem>(['sessions']),
  endSession: (id: string) => json<void>('DELETE', ['sessions', id]),

  cameras: () => all<Camera>(['cameras']),
  cameraConfig: (id: string) => json<CameraConfig>('GET', ['cameras', id, 'config']),
  addCamera: (config: CameraDraft) => json<CameraConfig>('POST', ['cameras'], {}, config),
  changeCamera: (id: string, config: CameraDraft) => json<CameraConfig>('PUT', ['cameras', id], {}, config),
  removeCamera: (id: string) => json<{ detail?: string } | undefined>('DELETE', ['cameras', id]),
  testCamera: (config: CameraDraft, signal?: AbortSignal) =>
    json<CameraTest>('POST', ['cameras', 'test'], {}, config, signal),
  startScan: (addresses: string[]) =>
    json<{ id: string }>('POST', ['scans'], {}, addresses.length > 0 ? { addresses } : {}),
  stopScan: (id: string) => json<void>('DELETE', ['scans', id]),

  coverage: (camera: string, window: Window, buckets?: number, signal?: AbortSignal) =>
    all<CoverageItem>(['cameras', camera, 'coverage'], { ...times(window), buckets }, signal),
  // One answer: no window that is asked for has more pictures than it holds.
  frames: async (camera: string, window: Window, stream: StreamName, signal?: AbortSignal) =>
    (await json<Page<FrameItem>>('GET', ['cameras', camera, 'frames'], { ...times(window), stream }, undefined, signal)).items,

  replenishment: () => json<Replenishment>('GET', ['replenishment']),
  setReplenishment: (change: { paused: boolean } | { bits_per_second_max: number }) =>
    json<Replenishment>('PUT', ['replenishment'], {}, change),

  addExport: (order: ExportOrder) => json<ExportJob>('POST', ['exports'], {}, order),
  removeExport: (id: string) => json<void>('DELETE', ['exports', id]),
};
