/** Footage as the player asks for it: windows of media, single pictures, and where there is something to play. */

import { ApiError, address, api, ask, type Window } from '../api/client';
import type { CoverageItem, StreamName } from '../api/types';
import { formatTime, parseTime } from '../time';

/** How far away footage is looked for, in growing steps: an hour, a day, a week, a month, two years. */
const SEARCH_MS = [3_600_000, 86_400_000, 7 * 86_400_000, 31 * 86_400_000, 731 * 86_400_000];

/** How long to wait for a node that is busy, when it says nothing, and at most. */
const BUSY_S = 1;
const BUSY_S_MAX = 5;

/** What a window is asked with. */
export interface WindowOrder extends Window {
  stream: StreamName;
  frames: 'all' | 'key';
  audio: boolean;
  /** Label of media time 0. */
  base: number;
}

/** A window that is being answered. */
export interface WindowAnswer {
  mime: string;
  /** Label of media time 0, as the node made it. */
  base: number;
  /** Label of its first picture; sound may begin earlier. */
  first: number;
  /** Where to go on when the codec changes inside of the window. */
  next: number | null;
  body: ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** A picture and its own time. */
export interface Picture {
  label: number;
  blob: Blob;
}

/** The footage of one camera; tests put another in its place. */
export interface Footage {
  /** `null` when nothing is held in it. */
  window(order: WindowOrder, signal: AbortSignal): Promise<WindowAnswer | null>;
  /** `null` when nothing is held there. */
  picture(at: number, stream: StreamName, signal: AbortSignal): Promise<Picture | null>;
  /** The first label at or behind `at` that is held; `null` when there is none. */
  heldAfter(at: number, signal: AbortSignal): Promise<number | null>;
  /** The end of what is held before `at`; `null` when there is nothing. */
  heldBefore(at: number, signal: AbortSignal): Promise<number | null>;
  /** The labels of pictures, in order. */
  frames(window: Window, stream: StreamName, signal: AbortSignal): Promise<number[]>;
}

/** The footage of a camera, from the node. */
export class NodeFootage implements Footage {
  constructor(private readonly camera: string) {}

  async window(order: WindowOrder, signal: AbortSignal): Promise<WindowAnswer | null> {
    if (!(await this.#holds(order, order.stream, signal))) return null;
    const url = address(['cameras', this.camera, 'media.mp4'], {
      from: formatTime(order.from), to: formatTime(order.to), stream: order.stream, frames: order.frames,
      audio: order.audio, base: formatTime(order.base),
    });
    const response = await orMissing(patient(() => ask('GET', url, undefined, signal), signal));
    if (response === null || response.body === null) return null;
    const { headers } = response;
    return {
      mime: headers.get('Keepwatch-Mime') ?? headers.get('Content-Type') ?? 'video/mp4',
      base: parseTime(headers.get('Keepwatch-Base') ?? '') ?? order.base,
      first: parseTime(headers.get('Keepwatch-First') ?? '') ?? Number.NEGATIVE_INFINITY,
      next: parseTime(headers.get('Keepwatch-Next') ?? ''),
      body: response.body,
    };
  }

  async picture(at: number, stream: StreamName, signal: AbortSignal): Promise<Picture | null> {
    if (!(await this.#holds({ from: at, to: at + 1 }, stream, signal))) return null;
    const url = address(['cameras', this.camera, 'picture.jpg'], { at: formatTime(at), stream });
    const response = await orMissing(patient(() => ask('GET', url, undefined, signal), signal));
    if (response === null) return null;
    return { label: parseTime(response.headers.get('Keepwatch-Label') ?? '') ?? at, blob: await response.blob() };
  }

  /** Whether anything of a window may be held. Footage is not asked for where none is: the refusal would stand in the log of the browser, as an error of the page. */
  async #holds({ from, to }: Window, stream: StreamName, signal: AbortSignal): Promise<boolean> {
    // What is told of the camera is told of its main stream.
    if (stream !== 'main') return true;
    const items = await api.coverage(this.camera, { from, to }, 1, signal);
    return items.some((item) => (item.held ?? 1) > 0);
  }

  async heldAfter(at: number, signal: AbortSignal): Promise<number | null> {
    const now = Date.now();
    let from = at;
    for (const step of SEARCH_MS) {
      if (from >= now) return null;
      const to = Math.min(at + step, now);
      if (to <= from) continue;
      const items = await api.coverage(this.camera, { from, to }, undefined, signal);
      const found = items.find((item) => item.state === 'held');
      if (found !== undefined) return Math.max(at, parseTime(found.from) ?? at);
      from = to;
    }
    return null;
  }

  async heldBefore(at: number, signal: AbortSignal): Promise<number | null> {
    let to = at;
    for (const step of SEARCH_MS) {
      const from = at - step;
      const items = await api.coverage(this.camera, { from, to }, undefined, signal);
      const found = items.findLast((item) => item.state === 'held');
      if (found !== undefined) return Math.min(at, parseTime(found.to) ?? at);
      to = from;
    }
    return null;
  }

  async frames(window: Window, stream: StreamName, signal: AbortSignal): Promise<number[]> {
    const items = await orMissing(api.frames(this.camera, window, stream, signal));
    return (items ?? []).map((item) => parseTime(item.label) ?? Number.NaN).filter((label) => !Number.isNaN(label));
  }
}

/** Looks for the next or the previous gap from `at`; `null` when there is none. */
export async function findGap(
  camera: string, at: number, direction: 'next' | 'previous', signal?: AbortSignal,
): Promise<CoverageItem | null> {
  const now = Date.now();
  let near = at;
  for (const step of SEARCH_MS) {
    const far = direction === 'next' ? Math.min(at + step, now) : at - step;
    const window = direction === 'next' ? { from: near, to: far } : { from: far, to: near };
    if (window.to <= window.from) return null;
    const items = await api.coverage(camera, window, undefined, signal);
    const gaps = items.filter((item) => item.state === 'gap' && isAway(item, at, direction));
    const found = direction === 'next' ? gaps[0] : gaps.at(-1);
    // One that is cut off by the window begins further back.
    if (found !== undefined && (direction === 'next' || (parseTime(found.from) ?? 0) > window.from)) return found;
    near = direction === 'next' ? far : near;
  }
  return null;
}

/** A gap that one stands in is neither the next nor the previous one. */
function isAway(item: CoverageItem, at: number, direction: 'next' | 'previous'): boolean {
  const from = parseTime(item.from) ?? 0;
  return direction === 'next' ? from > at + 0.001 : from < at - 0.001;
}

/** Asks again as long as the node is busy with footage for others. */
async function patient<T>(question: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await question();
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 503 || signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.min(error.retry_after_s ?? BUSY_S, BUSY_S_MAX) * 1000));
    }
  }
}

async function orMissing<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404 && error.code === 'footage_missing') return null;
    throw error;
  }
}
