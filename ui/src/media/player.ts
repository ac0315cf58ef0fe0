/**
 * Plays footage of one camera: at any speed, in both directions, picture by picture.
 *
 * There are two ways of showing. At the speeds of a decoder, forward, the media element plays windows that are appended
 * ahead of it. Faster than that, and backwards, only key frames are fetched and the element is put from one to the next
 * by a clock of ours. A codec that the browser cannot play is shown in the second way, as single pictures of the node.
 *
 * Where footage is missing, playing goes on behind it and says so.
 */

import { ApiError } from '../api/client';
import type { StreamName } from '../api/types';
import { codecName } from '../format';
import type { Footage, WindowAnswer } from './footage';
import type { Range } from './ranges';
import { Screen } from './screen';

/** Fastest rate at which every picture is decoded. */
export const DECODE_RATE_MAX = 4;
/** All rates; backwards they are the same. */
export const RATES = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64] as const;

/** How much is fetched at once, and how much is kept ahead, in milliseconds of footage at rate 1. */
const WINDOW_MS = 15_000;
const AHEAD_MS = 20_000;
/** How much time of ours a window of key frames lasts, and the longest that a node answers. */
const KEY_WINDOW_TURN_MS = 12_000;
const KEY_WINDOW_MS_MAX = 24 * 3_600_000;
/** Footage that is younger than this may still be on its way to the disk. */
const FRESH_MS = 15_000;
/** How long to wait at the end of what is on disk. */
const END_PAUSE_MS = 1000;
/** Shortest time that a picture is shown when the clock is ours: 12 a second; and one that the node has to make. */
const TURN_MS = 80;
const PICTURE_TURN_MS = 500;
/** Time spent on fetching longer than this is not footage to be passed over. */
const LATE_MS = 500;
/** How often the element is looked at. */
const LOOK_MS = 100;
/** Pictures whose labels are asked for at once, around the place. */
const FRAMES_AROUND_MS = 4000;
/** Longest that a picture stands before its time is no longer looked for. */
const STILL_MS = 2000;
/** Labels are whole microseconds, media times are not: what is closer is the same picture. */
const SAME_MS = 0.5;
/** A hole shorter than this is not worth a word. */
const HOLE_TOLD_MS = 1000;

/** What the player says of itself. */
export interface PlayerState {
  phase: 'idle' | 'loading' | 'playing' | 'paused' | 'end' | 'missing' | 'unplayable' | 'refused' | 'failed';
  /** The label of what is seen, or of where one is. */
  label: number;
  /** Negative backwards. */
  rate: number;
  /** Whether it shall move. */
  wanted: boolean;
  stream: StreamName;
  /** Whether single pictures of the node are shown. */
  pictures: boolean;
  /** The codec that cannot be played. */
  codec: string | null;
  /** The stretch without footage that was passed over last. */
  skipped: { from: number; to: number } | null;
  /** What went wrong. */
  error: unknown;
}

/** What a player is made of. */
export interface PlayerOptions {
  footage: Footage;
  has_sub: boolean;
  video: HTMLVideoElement;
  image: HTMLImageElement;
  changed(state: PlayerState): void;
}

/** A player of one camera. */
export class Player {
  #state: PlayerState = {
    phase: 'idle', label: 0, rate: 1, wanted: false, stream: 'main', pictures: false, codec: null, skipped: null, error: null,
  };
  #screen: Screen;
  /** Ends everything that the last order began. */
  #order = new AbortController();
  #timer: ReturnType<typeof setInterval>;
  #picture: string | null = null;
  /** Whether the element was put to the place of the order: until then, where it is means nothing. */
  #placed = false;
  /** Whether all that is on disk has been fetched. */
  #at_end = false;
  /** A window of key frames that is on its way. */
  #keys: Promise<boolean> | null = null;
  /** Steps that were asked for and not taken yet. */
  #steps = 0;
  #stepping = false;
  /** The labels that windows of key frames have covered. */
  #covered = { from: 0, to: 0 };

  constructor(private readonly options: PlayerOptions) {
    this.#screen = new Screen(options.video, (why) => this.#failed(new Error(why), this.#order.signal));
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** The state as it is. */
  get state(): PlayerState {
    return this.#state;
  }

  /** Goes to `label`, and plays on from there if it was playing. */
  seek(label: number): void {
    this.#begin({ label });
  }

  /** Plays, with a new rate if one is given. */
  play(rate: number = this.#state.rate): void {
    this.#begin({ rate, wanted: true });
  }

  /** Sets the rate, without beginning to play. */
  setRate(rate: number): void {
    if (this.#state.wanted) this.play(rate);
    else this.#set({ rate });
  }

  /** Stops, and shows exactly the picture that belongs to the place. Then forward is the direction again. */
  pause(): void {
    const decoded = this.#decodes() && this.#state.phase === 'playing';
    const still = { wanted: false, rate: Math.abs(this.#state.rate) };
    this.options.video.pause();
    this.#begin(decoded ? { ...still, label: this.#screen.label } : still);
  }

  /** One picture on or back. Steps that are asked for while one is looked up are taken together. */
  async step(direction: 1 | -1): Promise<void> {
    this.#steps += direction;
    if (this.#stepping) return;
    this.#stepping = true;
    const at = this.#state.phase === 'playing' && this.#decodes() ? this.#screen.label : this.#state.label;
    this.options.video.pause();
    this.#set({ wanted: false, label: at, skipped: null });
    let order = this.#renew();
    try {
      while (this.#steps !== 0 && !order.aborted) {
        const steps = this.#steps;
        this.#steps = 0;
        const label = await this.#stepFrom(this.#state.label, steps, order);
        if (label === null || order.aborted) break;
        this.seek(label);
        order = this.#order.signal;
      }
    } catch (error) {
      this.#failed(error, order);
    } finally {
      this.#steps = 0;
      this.#stepping = false;
    }
  }

  /** The label so many pictures on; `null` when there is none. */
  async #stepFrom(at: number, steps: number, order: AbortSignal): Promise<number | null> {
    const { footage } = this.options;
    const around = steps > 0 ? { from: at, to: at + FRAMES_AROUND_MS } : { from: at - FRAMES_AROUND_MS, to: at };
    const labels = await footage.frames(around, this.#state.stream, order);
    const beyond = steps > 0 ? labels.filter((l) => l > at + SAME_MS) : labels.filter((l) => l < at - SAME_MS).reverse();
    const near = beyond[Math.min(Math.abs(steps), beyond.length) - 1];
    if (near !== undefined || order.aborted) return near ?? null;
    const far = steps > 0 ? await footage.heldAfter(around.to, order) : await footage.heldBefore(around.from, order);
    return far !== null && steps < 0 ? far - 1 : far;
  }

  /** Ends it for good. */
  close(): void {
    this.#order.abort();
    clearInterval(this.#timer);
    this.#screen.close();
    if (this.#picture !== null) URL.revokeObjectURL(this.#picture);
  }

  /** Whether the element shows by itself. */
  #decodes(): boolean {
    const { pictures, wanted, rate } = this.#state;
    return !pictures && (!wanted || (rate > 0 && rate <= DECODE_RATE_MAX));
  }

  #renew(): AbortSignal {
    this.#order.abort();
    this.#order = new AbortController();
    this.#screen.abandon();
    this.#keys = null;
    this.#placed = false;
    this.#at_end = false;
    return this.#order.signal;
  }

  #begin(change: Partial<PlayerState>): void {
    const order = this.#renew();
    this.#set({ ...change, phase: 'loading', skipped: null, error: null });
    const work = this.#decodes() ? this.#decode(order) : this.#turn(order);
    work.catch((error: unknown) => this.#failed(error, order));
  }

  // The element plays by itself.

  /** Puts the element to the place and keeps it fed, until the order ends. */
  async #decode(order: AbortSignal): Promise<void> {
    const start = this.#state.label;
    if (!this.#screen.holds(start, 'all')) {
      this.options.video.pause();
      await this.#screen.empty('all', start);
    }
    const place = (): void => {
      if (!this.#placed && !order.aborted) this.#placed = this.#settle(start);
    };
    place();
    let next = this.#screen.until(start);
    while (!order.aborted) {
      const speed = Math.max(1, this.#state.rate);
      const placed = this.#placed;
      const enough = placed ? next - this.#state.label > AHEAD_MS * speed : this.#rangeFrom(start) !== undefined;
      if (enough) await pause(placed ? 250 : 20, order);
      else next = await this.#feed(next, next + WINDOW_MS * speed, order, place);
      place();
    }
  }

  /** Fetches one window; the label to go on from. */
  async #feed(from: number, to: number, order: AbortSignal, place: () => void): Promise<number> {
    const answer = await this.#window(from, to, 'all', order);
    if (order.aborted) return from;
    if (answer !== null && !(await this.#append(answer, order, place))) return from;
    if (order.aborted) return from;
    const settled = to <= Date.now() - FRESH_MS;
    if (answer?.next != null && answer.next > from) return answer.next;
    if (answer !== null && settled) return to;
    // What is still being written ends where it ends.
    const got = this.#screen.until(from);
    if (got > from) return got;
    const held = await this.options.footage.heldAfter(from + 1, order);
    if (order.aborted) return from;
    if (held !== null && held > from + 1) return held;
    if (held !== null && settled) return to;
    this.#at_end = true;
    place();
    if (this.#state.phase === 'loading') this.#set({ phase: held === null ? 'end' : 'missing' });
    await pause(END_PAUSE_MS, order);
    this.#at_end = false;
    return from;
  }

  /** What is buffered at `start` or behind it. */
  #rangeFrom(start: number): Range | undefined {
    const at = this.#screen.seconds(start);
    return this.#screen.ranges.find(({ end }) => end > at + 0.001);
  }

  /** Puts the element to `start`, or behind the gap in which it is; `false` while nothing is buffered there. */
  #settle(start: number): boolean {
    const range = this.#rangeFrom(start);
    // An element that does not know its media yet forgets where it was sent to.
    if (range === undefined || this.#screen.video.readyState === HTMLMediaElement.HAVE_NOTHING) return false;
    const label = Math.max(start, this.#screen.labelOf(range.start));
    const missing = label - start > HOLE_TOLD_MS;
    if (missing && !this.#state.wanted) {
      this.#set({ phase: 'missing' });
      return true;
    }
    this.#screen.goTo(label);
    this.#set({ label, skipped: missing ? { from: start, to: label } : null });
    if (!this.#state.wanted) {
      this.#set({ phase: 'paused' });
      void this.#name(this.#order.signal);
      return true;
    }
    const { video } = this.options;
    video.playbackRate = this.#state.rate;
    // Refused when it was paused meanwhile; then that is what is wanted.
    void video.play().catch(() => {});
    this.#set({ phase: 'playing' });
    return true;
  }

  /** Follows the element: where it is, over holes, and its end. */
  #look(): void {
    const { phase } = this.#state;
    const { video } = this.#screen;
    // On its way to another place it is nowhere.
    if (video.seeking || video.readyState === HTMLMediaElement.HAVE_NOTHING) return;
    if (!this.#placed || !this.#decodes() || (phase !== 'playing' && phase !== 'end') || !this.#state.wanted) return;
    const hole = this.#screen.overHole();
    if (hole !== null && hole.to - hole.from > HOLE_TOLD_MS) this.#set({ skipped: hole });
    const { label } = this.#screen;
    if (Math.abs(label - this.#state.label) > 1) this.#set({ label, phase: 'playing' });
    else if (this.#at_end && this.#screen.until(label) - label < 200) this.#set({ phase: 'end' });
    this.#screen.tidy();
  }

  /** Tells of a picture that stands its own time, which is seldom the one that was asked for. */
  async #name(order: AbortSignal): Promise<void> {
    const at = this.#state.label;
    const window = { from: at - STILL_MS, to: at + SAME_MS };
    const labels = await this.options.footage.frames(window, this.#state.stream, order).catch(() => []);
    const own = labels.at(-1);
    if (order.aborted || own === undefined) return;
    this.#screen.named(own);
    this.#set({ label: own });
  }

  // The clock is ours.

  /** Shows key frames, or pictures of the node, by a clock of ours, until the order ends. */
  async #turn(order: AbortSignal): Promise<void> {
    const { rate, wanted: moving, pictures } = this.#state;
    this.options.video.pause();
    let origin = { label: this.#state.label, at: performance.now() };
    while (!order.aborted) {
      const begun = performance.now();
      const label = moving ? origin.label + (begun - origin.at) * rate : origin.label;
      if (label > Date.now()) {
        this.#set({ phase: 'end', wanted: false });
        return;
      }
      const shown = pictures ? await this.#showPicture(label, order) : await this.#showKey(label, rate, order);
      if (order.aborted) return;
      if (!shown) {
        const behind = await this.#behindGap(label, moving ? rate : 0, order);
        if (behind === null) return;
        origin = { label: behind, at: performance.now() };
        continue;
      }
      this.#set({ phase: moving ? 'playing' : 'paused' });
      if (!moving) return;
      if (performance.now() - begun > LATE_MS) origin = { label, at: performance.now() };
      await pause((pictures ? PICTURE_TURN_MS : TURN_MS) - (performance.now() - begun), order);
    }
  }

  /** Where to go on from a place without footage; `null` when it ends there, which is then said. */
  async #behindGap(label: number, rate: number, order: AbortSignal): Promise<number | null> {
    const { footage } = this.options;
    if (rate === 0) {
      this.#set({ phase: 'missing' });
      return null;
    }
    const held = rate > 0 ? await footage.heldAfter(label, order) : await footage.heldBefore(label, order);
    if (order.aborted) return null;
    // Held, and yet nothing was answered: its disk may be away. Trying again at once would be for ever.
    if (held === null || Math.abs(held - label) < 1) {
      this.#set({ phase: held === null ? 'end' : 'missing', wanted: false });
      return null;
    }
    this.#set({ skipped: { from: Math.min(held, label), to: Math.max(held, label) } });
    return rate > 0 ? held : held - 1;
  }

  /** Shows the key frame at `label`; `false` when there is no footage. */
  async #showKey(label: number, rate: number, order: AbortSignal): Promise<boolean> {
    if (!this.#screen.holds(label, 'key')) {
      this.#keys ??= this.#fetchKeys(label, rate, order);
      const any = await this.#keys;
      this.#keys = null;
      if (order.aborted) return true;
      if (!any || !this.#screen.holds(label, 'key')) return false;
    } else if (this.#keys === null) {
      // The next window is fetched while this one is shown.
      const edge = rate > 0 ? this.#covered.to : this.#covered.from;
      const left = rate > 0 ? edge - label : label - edge;
      if (left < keySpan(rate) / 2 && edge < Date.now()) {
        const ahead = this.#fetchKeys(edge, rate, order);
        this.#keys = ahead;
        ahead.then(() => { if (this.#keys === ahead) this.#keys = null; }, (error: unknown) => this.#failed(error, order));
      }
    }
    this.#screen.goTo(label);
    await this.#screen.seeked(order);
    if (!order.aborted) this.#set({ label });
    return true;
  }

  /** Fetches key frames from `label` on in the direction of `rate`; `false` when there are none. */
  async #fetchKeys(label: number, rate: number, order: AbortSignal): Promise<boolean> {
    const span = keySpan(rate);
    const { from, to } = this.#covered;
    if (this.#screen.frames !== 'key' || label < from - 1 || label > to + 1) {
      await this.#screen.empty('key', rate < 0 ? label - span : label);
      this.#covered = { from: label, to: label };
    } else {
      // Backwards what was shown is behind in time, so it is not taken out by the queue itself.
      this.#screen.keepNear(label, 2 * span);
      this.#covered = { from: Math.max(from, label - 2 * span), to: Math.min(to, label + 2 * span) };
    }
    const window = rate > 0 ? { from: label, to: label + span } : { from: label - span, to: label + 1 };
    const answer = await this.#window(window.from, window.to, 'key', order);
    if (order.aborted) return true;
    this.#covered = { from: Math.min(this.#covered.from, window.from), to: Math.max(this.#covered.to, window.to) };
    return answer === null ? false : this.#append(answer, order, () => {});
  }

  async #showPicture(label: number, order: AbortSignal): Promise<boolean> {
    const picture = await this.options.footage.picture(label, this.#state.stream, order);
    if (order.aborted) return true;
    if (picture === null) return false;
    const before = this.#picture;
    this.#picture = URL.createObjectURL(picture.blob);
    this.options.image.src = this.#picture;
    await this.options.image.decode().catch(() => {});
    if (before !== null) URL.revokeObjectURL(before);
    if (!order.aborted) this.#set({ label: this.#state.wanted ? label : picture.label });
    return true;
  }

  // Both ways.

  #window(from: number, to: number, frames: 'all' | 'key', order: AbortSignal): Promise<WindowAnswer | null> {
    const { base } = this.#screen;
    return this.options.footage.window({ from, to, frames, base, stream: this.#state.stream, audio: frames === 'all' }, order);
  }

  /** Appends an answer; `false` when the browser cannot play it, and another way was begun. */
  async #append(answer: WindowAnswer, order: AbortSignal, appended: () => void): Promise<boolean> {
    if (await this.#screen.append(answer, order, appended)) return true;
    if (order.aborted) return false;
    this.#otherWay(codecName(/codecs="([^",]+)/.exec(answer.mime)?.[1] ?? answer.mime));
    return false;
  }

  /** Shows what cannot be played by the other stream, or as single pictures of the node. */
  #otherWay(codec: string): void {
    const sub = this.#state.stream === 'main' && this.options.has_sub;
    this.#begin(sub ? { codec, stream: 'sub' } : { codec, pictures: true, stream: 'main' });
  }

  #failed(error: unknown, order: AbortSignal): void {
    if (order.aborted) return;
    const code = error instanceof ApiError ? error.code : '';
    if (code === 'footage_unsuitable' && !this.#state.pictures) {
      this.#otherWay('Motion JPEG');
      return;
    }
    this.#order.abort();
    const phase = code === 'codec_undecodable' ? 'unplayable' : code === 'role_too_low' ? 'refused' : 'failed';
    this.#set({ phase, wanted: false, error });
  }

  #set(change: Partial<PlayerState>): void {
    this.#state = { ...this.#state, ...change };
    this.options.changed(this.#state);
  }
}

/** How much footage a window of key frames has. */
function keySpan(rate: number): number {
  return Math.min(Math.max(Math.abs(rate) * KEY_WINDOW_TURN_MS, 20_000), KEY_WINDOW_MS_MAX);
}

function pause(ms: number, order: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, ms));
    const stop = (): void => {
      clearTimeout(timer);
      resolve();
    };
    order.addEventListener('abort', stop, { once: true });
  });
}
