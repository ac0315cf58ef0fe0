/**
 * A media element that shows footage by label: what is buffered, where it is, and how an answer gets in.
 *
 * Media time is label minus `base`, and `base` lies a day before the first moment, so that nearly every later order keeps it.
 * A buffer holds either all pictures or key frames only: mixed, a key frame of long duration would push pictures out.
 */

import { ApiError } from '../api/client';
import type { WindowAnswer } from './footage';
import { canPlay, type Deck, openDeck } from './mse';
import { overHole, type Range, rangeAt } from './ranges';

/** Time 0 lies this much before the first moment that is played. */
const BASE_BEFORE_MS = 24 * 3_600_000;
/** No moment is nearer to time 0 than this: the key frame before it must not be negative. */
const BASE_NEAR_MS = 600_000;
/** What is kept of what was played, and when the rest is taken out, in seconds. */
const KEEP_S = 30;
const TRIM_S = 60;
/** Longest time that the browser gets to show a picture. */
const SEEK_MS_MAX = 3000;
/** Half a millisecond into a picture: its own begin may round to the one before. */
const INTO_S = 0.0005;
/** A key frame stands for the time until the next one, at most this much, in seconds. */
const KEY_REACH_S = 12;

/** Which pictures are in the buffer. */
export type Frames = 'all' | 'key';

/** A media element that shows footage by label. */
export class Screen {
  #deck: Deck | null = null;
  #mime = '';
  #base = 0;
  #frames: Frames = 'all';
  /** The label from which on what is buffered has pictures: a browser counts sound before the first of them as buffered, too. */
  #first = 0;
  /** Media time of the picture that is shown, where the browser tells it. */
  #shown_s: number | null = null;
  #closed = false;

  constructor(
    readonly video: HTMLVideoElement,
    private readonly failed: (why: string) => void,
  ) {
    this.#follow();
  }

  /** Which pictures the buffer is for. */
  get frames(): Frames {
    return this.#frames;
  }

  /** Label of media time 0. */
  get base(): number {
    return this.#base;
  }

  /** What is buffered, in media time. */
  get ranges(): Range[] {
    return this.#deck?.queue.ranges ?? [];
  }

  /** The label of the picture that is shown. */
  get label(): number {
    return this.#base + (this.#shown_s ?? this.video.currentTime) * 1000;
  }

  /** Media time of a label. */
  seconds(label: number): number {
    return (label - this.#base) / 1000;
  }

  /** Label of a media time. */
  labelOf(seconds: number): number {
    return this.#base + seconds * 1000;
  }

  /** Whether the picture at `label` is buffered. */
  holds(label: number, frames: Frames): boolean {
    return this.#frames === frames && this.#place(label, frames) !== null;
  }

  /** The label until which footage is buffered without a hole from `label` on; `label` itself when it is not. */
  until(label: number): number {
    // The end of one window and the begin of the next are the same instant, rounded.
    const range = rangeAt(this.ranges, this.seconds(label) - 0.02) ?? rangeAt(this.ranges, this.seconds(label));
    return range === null ? label : Math.max(label, this.labelOf(range.end));
  }

  /** Makes an empty buffer for pictures around `label`. */
  async empty(frames: Frames, label: number): Promise<void> {
    this.#first = label;
    if (this.#deck !== null && this.#frames === frames && label - this.#base > BASE_NEAR_MS) {
      this.#deck.queue.clear();
      await this.#deck.queue.reached();
      return;
    }
    this.#deck?.close();
    this.#deck = null;
    this.#frames = frames;
    this.#base = Math.floor((label - BASE_BEFORE_MS) / 1000) * 1000;
  }

  /** The picture that is shown is that of `label`: it is buffered, too. */
  named(label: number): void {
    this.#first = Math.min(this.#first, label);
  }

  /** What was begun is given up: half a piece may be in the buffer. */
  abandon(): void {
    this.#deck?.queue.abort();
  }

  /** Appends an answer as it comes; `false` when the browser cannot play it. */
  async append(answer: WindowAnswer, order: AbortSignal, appended: () => void): Promise<boolean> {
    if (!canPlay(answer.mime)) {
      await answer.body.cancel().catch(() => {});
      return false;
    }
    const deck = await this.#deckFor(answer.mime, order);
    if (deck === null) {
      await answer.body.cancel().catch(() => {});
      return true;
    }
    deck.queue.line(answer.mime, (answer.base - this.#base) / 1000, this.seconds(answer.first) - INTO_S);
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        if (order.aborted) throw error;
        // It broke off: the node ended, or the network did.
        throw new ApiError(0, '', '');
      });
      if (done || order.aborted) return true;
      deck.queue.append(value);
      await deck.queue.reached();
      if (order.aborted) return true;
      appended();
    }
  }

  /** Goes to `label`, if it is buffered, and says which media time that is. */
  goTo(label: number): number | null {
    const seconds = this.#place(label, this.#frames);
    if (seconds !== null) this.video.currentTime = seconds + INTO_S;
    return seconds;
  }

  /** Ends when the browser shows what it was sent to. */
  seeked(order: AbortSignal): Promise<void> {
    const { video } = this;
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        video.removeEventListener('seeked', end);
        resolve();
      };
      const timer = setTimeout(end, SEEK_MS_MAX);
      video.addEventListener('seeked', end);
      order.addEventListener('abort', end, { once: true });
    });
  }

  /** Jumps over a hole that playing has come to; the labels of its ends, or `null`. */
  overHole(): { from: number; to: number } | null {
    const at = this.video.currentTime;
    const over = overHole(this.ranges, at);
    if (over === null) return null;
    this.video.currentTime = over + INTO_S;
    return { from: this.labelOf(at), to: this.labelOf(over) };
  }

  /** Takes out what was played long ago, and goes on where the quota stood in the way. */
  tidy(): void {
    const first = this.ranges[0];
    const at = this.video.currentTime;
    if (first !== undefined && this.#frames === 'all' && at - first.start > TRIM_S) this.#deck?.queue.remove(0, at - KEEP_S);
    this.#deck?.queue.resume();
  }

  /** Takes out what is further than `span_ms` from `label`. */
  keepNear(label: number, span_ms: number): void {
    this.#deck?.queue.remove(0, Math.max(0, this.seconds(label - span_ms)));
    this.#deck?.queue.remove(this.seconds(label + span_ms), Number.POSITIVE_INFINITY);
  }

  /** Ends it for good. */
  close(): void {
    this.#closed = true;
    this.#deck?.close();
    this.#deck = null;
  }

  /** The media time at which `label` is seen. */
  #place(label: number, frames: Frames): number | null {
    const at = this.seconds(label);
    const { ranges } = this;
    if (frames === 'all' && label < this.#first) return null;
    if (rangeAt(ranges, at) !== null) return at;
    if (frames === 'all') return null;
    const before = ranges.findLast((range) => range.end <= at);
    return before !== undefined && at - before.end < KEY_REACH_S ? before.end - 0.01 : null;
  }

  /** The deck for a type: a buffer takes another codec, but not another number of tracks. */
  async #deckFor(mime: string, order: AbortSignal): Promise<Deck | null> {
    if (this.#deck !== null && tracksOf(this.#mime) !== tracksOf(mime)) {
      while (!order.aborted && !this.#playedOut()) await new Promise((resolve) => setTimeout(resolve, 100));
      if (order.aborted) return null;
      this.#deck.close();
      this.#deck = null;
    }
    this.#mime = mime;
    if (this.#deck !== null) return this.#deck;
    const deck = await openDeck(this.video, mime, { failed: this.failed });
    if (order.aborted || this.#closed) {
      deck.queue.close();
      return null;
    }
    this.#deck = deck;
    return deck;
  }

  #playedOut(): boolean {
    const last = this.ranges.at(-1);
    return last === undefined || this.video.currentTime >= last.end - 0.15;
  }

  #follow(): void {
    if (!('requestVideoFrameCallback' in this.video)) return;
    const frame = (_: number, metadata: VideoFrameCallbackMetadata): void => {
      this.#shown_s = metadata.mediaTime;
      if (!this.#closed) this.video.requestVideoFrameCallback(frame);
    };
    this.video.requestVideoFrameCallback(frame);
    // Until the picture of another place is shown, the place is the best that is known.
    this.video.addEventListener('seeking', () => {
      this.#shown_s = null;
    });
  }
}

/** How many tracks a type names. */
export function tracksOf(mime: string): number {
  return (/codecs="([^"]*)"/.exec(mime)?.[1] ?? '').split(',').length;
}
