/**
 * The way of bytes into a media element: one queue before one source buffer.
 *
 * A source buffer takes one piece at a time and has a quota that no page can ask for. So pieces wait here, bounded;
 * when the quota is used up, what was played makes room; and when there is no room to make, the owner is told.
 * A change of the codec or of the time line waits in the same queue, so that it lands between the right pieces.
 */

import { type Range, rangesOf } from './ranges';

/** What is used of a `SourceBuffer`; tests put a fake in its place. */
export interface Sink {
  readonly updating: boolean;
  readonly buffered: TimeRanges;
  timestampOffset: number;
  appendWindowStart: number;
  appendBuffer(data: BufferSource): void;
  remove(start: number, end: number): void;
  abort(): void;
  changeType?(mime: string): void;
  addEventListener(name: 'updateend' | 'error', call: () => void): void;
}

type Job =
  | { kind: 'append'; data: BufferSource; bytes: number }
  | { kind: 'line'; mime: string; offset_s: Offset; from_s: number }
  | { kind: 'remove'; from_s: number; to_s: number }
  | { kind: 'abort' }
  | { kind: 'reached'; call: () => void };

/** Where time 0 of pieces is, in seconds; where that depends on the end of what is in before them, a function of it. */
export type Offset = number | ((end_s: number) => number);

/** What an owner of a queue is told. */
export interface QueueEvents {
  /** Something was appended: what is buffered has changed. */
  appended?(): void;
  /** Nothing more can be appended until `resume`, because the quota is used up by what is still to be played. */
  full?(): void;
  /** The source buffer is of no use any more. */
  failed(why: string): void;
}

/** How much of what was played stays when room has to be made, in seconds. */
const KEEP_BEHIND_S = 2;

/** A queue before a source buffer. */
export class AppendQueue {
  #jobs: Job[] = [];
  #waiting_bytes = 0;
  #held_up = false;
  #dead = false;
  #mime: string;

  constructor(
    private readonly sink: Sink,
    mime: string,
    /** Where playing is, in seconds. */
    private readonly position_s: () => number,
    private readonly events: QueueEvents,
  ) {
    this.#mime = mime;
    sink.addEventListener('updateend', () => {
      if (this.#dead) return;
      this.events.appended?.();
      this.#next();
    });
    sink.addEventListener('error', () => this.#fail('the browser cannot read what the recorder sent'));
  }

  /** Bytes that wait. */
  get waiting_bytes(): number {
    return this.#waiting_bytes;
  }

  /** What is buffered. */
  get ranges(): Range[] {
    // A source buffer that was taken from its media source throws instead of answering.
    try {
      return rangesOf(this.sink.buffered);
    } catch {
      return [];
    }
  }

  /** Appends a piece behind all that waits. */
  append(data: BufferSource): void {
    if (this.#dead) return;
    this.#waiting_bytes += data.byteLength;
    this.#add({ kind: 'append', data, bytes: data.byteLength });
  }

  /**
   * From here on pieces are of this type, their time 0 is at `offset_s`, and what they have before `from_s` is left out: browsers
   * take out the pictures of before from where a window's sound begins, which is earlier than its first picture.
   */
  line(mime: string, offset_s: Offset, from_s = 0): void {
    this.#add({ kind: 'line', mime, offset_s, from_s: Math.max(0, from_s) });
  }

  /** Takes out a stretch, when all before it is done. */
  remove(from_s: number, to_s: number): void {
    if (to_s > from_s) this.#add({ kind: 'remove', from_s, to_s });
  }

  /** Ends when all that waits now is in. */
  reached(): Promise<void> {
    return new Promise((resolve) => this.#add({ kind: 'reached', call: resolve }));
  }

  /** Forgets what waits and takes out all that is buffered; a half piece is forgotten, too. */
  clear(): void {
    const reached = this.#jobs.filter((job) => job.kind === 'reached');
    this.#jobs = [];
    this.#waiting_bytes = 0;
    this.#held_up = false;
    for (const job of reached) job.call();
    this.abort();
    this.remove(0, Number.POSITIVE_INFINITY);
  }

  /** Forgets a piece of which only a part was appended. */
  abort(): void {
    this.#add({ kind: 'abort' });
  }

  /** Tries again after `full`: something was played meanwhile. */
  resume(): void {
    if (!this.#held_up) return;
    this.#held_up = false;
    this.#next();
  }

  /** Nothing is done any more; what waits is forgotten. */
  close(): void {
    this.#dead = true;
    for (const job of this.#jobs) if (job.kind === 'reached') job.call();
    this.#jobs = [];
    this.#waiting_bytes = 0;
  }

  #add(job: Job): void {
    if (this.#dead) {
      if (job.kind === 'reached') job.call();
      return;
    }
    this.#jobs.push(job);
    this.#next();
  }

  #next(): void {
    while (!this.#dead && !this.#held_up && !this.sink.updating) {
      const job = this.#jobs[0];
      if (job === undefined) return;
      try {
        this.#do(job);
      } catch (error) {
        if (job.kind === 'append' && error instanceof DOMException && error.name === 'QuotaExceededError') {
          this.#makeRoom();
          return;
        }
        this.#fail(String(error));
        return;
      }
      this.#jobs.shift();
      if (job.kind === 'append') this.#waiting_bytes -= job.bytes;
    }
  }

  #do(job: Job): void {
    switch (job.kind) {
      case 'append':
        this.sink.appendBuffer(job.data);
        return;
      case 'line': {
        const offset_s = typeof job.offset_s === 'number' ? job.offset_s : job.offset_s(this.ranges.at(-1)?.end ?? 0);
        if (job.mime !== this.#mime) {
          if (this.sink.changeType === undefined) throw new Error('the browser cannot change the codec');
          this.sink.changeType(job.mime);
          this.#mime = job.mime;
        }
        if (this.sink.timestampOffset !== offset_s) this.sink.timestampOffset = offset_s;
        if (this.sink.appendWindowStart !== job.from_s) this.sink.appendWindowStart = job.from_s;
        return;
      }
      case 'remove':
        if (this.sink.buffered.length > 0) this.sink.remove(job.from_s, job.to_s);
        return;
      case 'abort':
        // Never while it updates: that would throw during a removal.
        this.sink.abort();
        return;
      case 'reached':
        job.call();
    }
  }

  /** Takes out what was played, before the piece that did not fit; without any, waits for `resume`. */
  #makeRoom(): void {
    const first = this.ranges[0];
    const until = this.position_s() - KEEP_BEHIND_S;
    if (first !== undefined && first.start < until) {
      this.sink.remove(0, until);
      return;
    }
    this.#held_up = true;
    this.events.full?.();
  }

  #fail(why: string): void {
    if (this.#dead) return;
    this.close();
    this.events.failed(why);
  }
}

/** The media source of this browser; on iPhones it is the managed one. */
export function mediaSourceClass(): typeof MediaSource | null {
  const scope = globalThis as { ManagedMediaSource?: typeof MediaSource; MediaSource?: typeof MediaSource };
  return scope.ManagedMediaSource ?? scope.MediaSource ?? null;
}

/** Whether this browser plays a type. */
export function canPlay(mime: string): boolean {
  return mediaSourceClass()?.isTypeSupported(mime) ?? false;
}

/** The codecs that this browser plays, by how their names begin (RFC 6381), to be told to a node. */
export function playableCodecs(): string[] {
  const samples = {
    avc1: 'video/mp4; codecs="avc1.640028"', hvc1: 'video/mp4; codecs="hvc1.1.6.L120.90"', mp4a: 'audio/mp4; codecs="mp4a.40.2"',
    flac: 'audio/mp4; codecs="flac"',
  };
  return Object.entries(samples)
    .filter(([, mime]) => canPlay(mime))
    .map(([name]) => name);
}

/** A media element with a media source and a queue before it. */
export interface Deck {
  queue: AppendQueue;
  /** Takes all of it away from the element. */
  close(): void;
}

/** Gives `video` a new media source that takes `mime`; rejects when the browser refuses it. */
export function openDeck(video: HTMLVideoElement, mime: string, events: QueueEvents): Promise<Deck> {
  const Class = mediaSourceClass();
  if (Class === null) return Promise.reject(new Error('this browser has no media source'));
  const source = new Class();
  const url = URL.createObjectURL(source);
  // A managed media source stays closed until remote playback is given up.
  video.disableRemotePlayback = true;
  video.src = url;
  return new Promise((resolve, reject) => {
    source.addEventListener(
      'sourceopen',
      () => {
        URL.revokeObjectURL(url);
        try {
          const queue = new AppendQueue(source.addSourceBuffer(mime), mime, () => video.currentTime, events);
          resolve({
            queue,
            close: () => {
              queue.close();
              video.removeAttribute('src');
              video.load();
            },
          });
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      },
      { once: true },
    );
  });
}
