/**
 * What all pages share: who is logged in, where one is, what is known of the node and how old that is.
 *
 * Decisions are in modules without a framework (store.ts, routes.ts, rights.ts); this one makes them visible to components.
 */

import { tick } from 'svelte';
import { ApiError, api, onLoggedOut, socketAddress } from './api/client';
import { Line } from './api/socket';
import type { Edge } from './api/edge';
import type { Lists } from './api/failover';
import type { Camera, NodeStatus, Session, StatusMessage } from './api/types';
import { t } from './i18n';
import { type Known, reduce } from './store';
import { formatRoute, parseRoute, type Route } from './routes';

/** Data older than this is not shown as if it were the present. */
export const STALE_MS = 5000;

/** The node speaks at least every 2 s; a socket that is silent for longer than four of these is given up. */
const SILENCE_MS = 8000;

/** So much of a role tells recorders of a site apart. */
const ROLE_CHARS = 8;

/** How often the age of the data is looked at. */
const TICK_MS = 250;

/** Whether one is logged in. */
export type Access =
  | { kind: 'asking' }
  | { kind: 'unreachable'; why: string }
  | { kind: 'setup' }
  | { kind: 'out'; ended: boolean }
  | { kind: 'in'; session: Session };

class App {
  /** Where one is. */
  route = $state.raw<Route>(parseRoute(location.hash));
  /** Whether one is logged in. */
  access = $state.raw<Access>({ kind: 'asking' });
  /** What is known of the node; `null` before the first snapshot. */
  known = $state.raw<Known | null>(null);
  /** Milliseconds since the node last said something; `null` before it did. */
  age_ms = $state.raw<number | null>(null);
  /** The present by this computer's clock, moved on with the age. */
  now = $state.raw(Date.now());

  /** All cameras that may be seen, by name. */
  cameras: Camera[] = $derived(sorted(this.known?.value.cameras ?? {}));
  /** The node; `null` before the first snapshot, or when it may not be seen. */
  node: NodeStatus | null = $derived(this.known?.value.node ?? null);
  /** The failovers; `null` before the first snapshot, of a node whose standby does not run, or when they may not be seen. */
  failover: Lists | null = $derived(this.known?.value.failover ?? null);
  /** What this node sends; `null` before the first snapshot, of a node whose edge role does not run, or when it may not be seen. */
  edge: Edge | null = $derived(this.known?.value.edge ?? null);
  /** Whether what is shown may no longer be so. */
  stale: boolean = $derived(this.age_ms === null || this.age_ms > STALE_MS);

  /** What a recorder is called, by its role: this node, or one that it watches; else the begin of the role. */
  recorderName(role: string): string {
    if (role === this.node?.role) return this.node.name;
    const watched = this.failover?.monitoring.find((primary) => primary.role === role);
    return watched?.name ?? t.timeline.unknownRecorder(role.slice(0, ROLE_CHARS));
  }

  #line: Line | null = null;
  #heard: number | null = null;

  /** Begins: finds out who one is, and follows the address. */
  start(): () => void {
    onLoggedOut(() => this.#leave(true));
    const follow = (): void => {
      this.route = parseRoute(location.hash);
    };
    addEventListener('hashchange', follow);
    const timer = setInterval(() => this.#tick(), TICK_MS);
    void this.enter();
    return () => {
      removeEventListener('hashchange', follow);
      clearInterval(timer);
      this.#line?.close();
    };
  }

  /** Asks the node who one is. */
  async enter(): Promise<void> {
    try {
      const { needed, session } = await api.begin();
      // A link of the first run, after the first run: its code is of no use any more.
      if (!needed && this.route.page === 'setup') this.go({ page: 'live' }, 'replace');
      if (session) this.#welcome(await api.session());
      else if (needed) this.access = { kind: 'setup' };
      else if (this.access.kind !== 'out') this.access = { kind: 'out', ended: false };
    } catch (error) {
      // It has ended between the two questions: that was told, and is shown.
      if (error instanceof ApiError && error.status === 401) return;
      this.access = { kind: 'unreachable', why: explain(error) };
    }
  }

  /** Somebody has just logged in. */
  loggedIn(session: Session): void {
    this.#welcome(session);
    if (this.route.page === 'setup') this.go({ page: 'live' }, 'replace');
  }

  /** Ends the session. */
  async logout(): Promise<void> {
    // The node is about to hang up, and that is no reason to ask it why.
    this.#line?.close();
    // What a page is still reading is ended by the page, not cut off by the node.
    this.access = { kind: 'asking' };
    await tick();
    try {
      await api.logout();
    } finally {
      this.#leave(false);
    }
  }

  /** Goes to another place. */
  go(route: Route, how: 'push' | 'replace' = 'push'): void {
    const hash = formatRoute(route);
    if (how === 'push') location.hash = hash;
    else history.replaceState(null, '', hash);
    this.route = route;
  }

  #welcome(session: Session): void {
    this.access = { kind: 'in', session };
    this.#line?.close();
    this.#line = new Line(
      () => socketAddress(['status']),
      {
        text: (text) => this.#take(text),
        // A session that ended is told by HTTP, in words; a socket only breaks.
        closed: () => void this.#stillIn(),
      },
      SILENCE_MS,
    );
  }

  #leave(ended: boolean): void {
    this.#line?.close();
    this.#line = null;
    this.known = null;
    this.#heard = null;
    this.age_ms = null;
    this.access = { kind: 'out', ended };
  }

  async #stillIn(): Promise<void> {
    try {
      const { session } = await api.begin();
      if (this.access.kind !== 'in') return;
      // Rights may have changed; that is why sockets are closed, too.
      if (session) this.access = { kind: 'in', session: await api.session() };
      else this.#leave(true);
    } catch {
      // The node does not answer: the age of the data says so.
    }
  }

  #take(text: string): void {
    let message: StatusMessage;
    try {
      message = JSON.parse(text) as StatusMessage;
    } catch {
      this.#line?.restart();
      return;
    }
    const outcome = reduce(message.type === 'snapshot' ? null : this.known, message);
    if (outcome.kind === 'lost') {
      console.warn(`status: ${outcome.why}`);
      this.#line?.restart();
      return;
    }
    this.known = outcome.known;
    this.#heard = performance.now();
    this.#tick();
  }

  #tick(): void {
    this.now = Date.now();
    this.age_ms = this.#heard === null ? null : performance.now() - this.#heard;
  }
}

function sorted(cameras: Record<string, Camera>): Camera[] {
  return Object.values(cameras).sort((a, b) => a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1));
}

/** What a person is told of an error. */
export function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  if (error.status === 0) return t.common.unreachable;
  const plain = error.detail === '' ? t.common.unexplained(error.status) : sentence(error.detail);
  const words = [plain, ...[...error.fields].map(([field, detail]) => `${field}: ${detail}.`)].join(' ');
  return error.retry_after_s === null ? words : `${words} ${t.common.retryIn(error.retry_after_s)}`;
}

/** Details of the API are written without capital and full stop. */
function sentence(text: string): string {
  const first = text.charAt(0).toLocaleUpperCase() + text.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}

/** The one of the page. */
export const app = new App();
