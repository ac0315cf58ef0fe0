/**
 * One live picture: a socket to the node, a media element, and the decisions between them.
 *
 * Media time goes on without a hole as long as the socket stands, whatever the camera does meanwhile; each init says which
 * label belongs to its time 0. What comes by another socket is placed behind what is there, so the element is never
 * reloaded. Motion JPEG is shown as single pictures.
 */

import { socketAddress } from '../api/client';
import { Line } from '../api/socket';
import type { LiveMessage, StreamName } from '../api/types';
import { codecName } from '../format';
import { parseTime } from '../time';
import { canPlay, type Deck, openDeck, playableCodecs } from './mse';
import { Labels } from './labels';
import { tracksOf } from './screen';
import { EdgeStep, steer } from './steer';

/** The node says something once a second, whatever the camera does; a socket that is silent for longer is dialled anew. */
const SILENCE_MS = 6000;
/** Most bytes that wait for the browser: some seconds of one camera. More means that it does not keep up. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;
/** How much of what was played is kept, and when the rest is taken out, in seconds. */
const KEEP_S = 10;
const TRIM_S = 30;
/** How often the place is looked at. */
const STEER_MS = 200;
/** How long it is said that pictures were left out. */
const SKIPPED_SHOWN_MS = 5000;
/** The node closes a socket whose right is lost with this code (RFC 6455 §7.4.1: policy violation). */
const POLICY_VIOLATION = 1008;

/** What is seen, or why nothing is. */
export interface LiveState {
  phase: 'connecting' | 'playing' | 'waiting' | 'unplayable' | 'lost' | 'refused';
  /** Which stream is shown. */
  stream: StreamName;
  /** Whether what is shown is single pictures. */
  pictures: boolean;
  /** Codec that cannot be played: of the main stream when the sub stream is shown instead. */
  unplayable: string | null;
  /** How far what is seen is behind the present. */
  lag_ms: number | null;
  /** Pictures that were left out lately. */
  skipped: number;
  /** Since when and why the camera sends nothing. */
  waiting: { since: number | null; reason: string | null; detail: string | null } | null;
}

/** What a live picture is made of. */
export interface LiveOptions {
  camera: string;
  stream: StreamName;
  /** Whether there is a sub stream to fall back to. */
  has_sub: boolean;
  /** Whether sound is wanted, too. */
  audio: boolean;
  video: HTMLVideoElement;
  image: HTMLImageElement;
  changed(state: LiveState): void;
}

/** A live picture; it begins when it is resumed. */
export class Live {
  #state: LiveState;
  #line: Line | null = null;
  #deck: Deck | null = null;
  /** Which deck is being opened; one that was overtaken is thrown away. */
  #opening = 0;
  /** What came before the media source was open. */
  #early: ArrayBuffer[] = [];
  /** Which label belongs to which media time of the element; `null` before the first init. */
  #labels: Labels | null = null;
  /** Whether an init came by the socket that stands. */
  #begun = false;
  /** Where time 0 of the pieces that come is in the element. */
  #offset_s = 0;
  #mime = '';
  #step = new EdgeStep();
  #steering: ReturnType<typeof setInterval> | null = null;
  /** The node's clock at an instant of ours. */
  #clock: { sent: number; here: number } | null = null;
  #label: number | null = null;
  #skipped_until = 0;
  #picture: string | null = null;
  #drawing = false;
  #next_picture: ArrayBuffer | null = null;

  constructor(private readonly options: LiveOptions) {
    this.#state = {
      phase: 'connecting', stream: options.stream, pictures: false, unplayable: null, lag_ms: null, skipped: 0, waiting: null,
    };
  }

  /** Stops taking pictures, as nobody sees them. */
  pause(): void {
    this.#line?.close();
    this.#line = null;
    if (this.#steering !== null) clearInterval(this.#steering);
    this.#steering = null;
    this.#reset();
  }

  /** Takes pictures again. */
  resume(): void {
    if (this.#line !== null) return;
    this.#set({ phase: 'connecting', lag_ms: null });
    this.#dial();
    this.#steering = setInterval(() => this.#steer(), STEER_MS);
  }

  /** Ends it for good. */
  close(): void {
    this.pause();
    if (this.#picture !== null) URL.revokeObjectURL(this.#picture);
    this.#picture = null;
  }

  #dial(): void {
    this.#line?.close();
    const url = (): string => socketAddress(['cameras', this.options.camera, 'live'], { stream: this.#state.stream, audio: this.options.audio });
    this.#line = new Line(
      url,
      {
        opened: (send) => send(JSON.stringify({ playable: playableCodecs() })),
        text: (text) => this.#text(text),
        binary: (data) => this.#binary(data),
        closed: (code) => {
          this.#begun = false;
          if (code === POLICY_VIOLATION) {
            this.pause();
            this.#set({ phase: 'refused' });
          } else if (this.#state.phase !== 'waiting') this.#set({ phase: 'lost', lag_ms: null });
        },
      },
      SILENCE_MS,
    );
  }

  #text(text: string): void {
    let message: LiveMessage;
    try {
      message = JSON.parse(text) as LiveMessage;
    } catch {
      this.#line?.restart();
      return;
    }
    switch (message.type) {
      case 'init':
        this.#begin(message);
        return;
      case 'alive':
        this.#sync(message.now);
        return;
      case 'time':
        this.#sync(message.sent);
        this.#label = parseTime(message.label);
        return;
      case 'skipped':
        this.#skipped_until = performance.now() + SKIPPED_SHOWN_MS;
        this.#set({ skipped: this.#state.skipped + Math.max(0, message.frames) });
        return;
      case 'waiting':
        this.#set({
          phase: 'waiting', lag_ms: null,
          waiting: { since: parseTime(message.since), reason: message.reason, detail: message.detail },
        });
        return;
      case 'unplayable':
        this.#cannot(message.codec);
    }
  }

  /** Notes what the node's clock shows now. */
  #sync(text: string): void {
    const sent = parseTime(text);
    if (sent !== null) this.#clock = { sent, here: performance.now() };
  }

  #begin(init: LiveMessage & { type: 'init' }): void {
    if (init.mime === 'image/jpeg') {
      this.#reset();
      this.#set({ pictures: true, waiting: null });
      return;
    }
    const start = parseTime(init.start);
    if (start === null) {
      this.#line?.restart();
      return;
    }
    if (!canPlay(init.mime)) {
      this.#cannot(init.codec);
      return;
    }
    const phase = this.#state.phase === 'playing' ? 'playing' : 'connecting';
    this.#set({ phase, pictures: false, waiting: null });
    const first = !this.#begun;
    this.#begun = true;
    if (this.#deck !== null && this.#labels !== null && tracksOf(init.mime) === tracksOf(this.#mime)) {
      this.#goOn(init.mime, start, first);
      return;
    }
    // The first session, or sound came or went, which no buffer takes.
    this.#reset();
    this.#begun = true;
    this.#labels = new Labels(start);
    this.#mime = init.mime;
    void this.#open();
  }

  /** Pieces of another init go into the same element: behind what is there, when they come by another socket. */
  #goOn(mime: string, start: number, first: boolean): void {
    const { queue } = this.#deck as Deck;
    const labels = this.#labels;
    this.#mime = mime;
    queue.line(mime, (end_s) => {
      if (first) this.#offset_s = end_s;
      labels?.from(end_s, start - this.#offset_s * 1000);
      return this.#offset_s;
    });
  }

  async #open(): Promise<void> {
    const mine = ++this.#opening;
    try {
      const deck = await openDeck(this.options.video, this.#mime, {
        appended: () => {
          const edge = this.#deck?.queue.ranges.at(-1)?.end;
          if (edge !== undefined) this.#step.moved(edge);
          this.#steer();
        },
        full: () => this.#restart(),
        failed: () => this.#restart(),
      });
      if (mine !== this.#opening) {
        deck.queue.close();
        return;
      }
      this.#deck = deck;
      for (const data of this.#early.splice(0)) deck.queue.append(data);
      // Without sound a page may begin to play by itself.
      void this.options.video.play().catch(() => {});
    } catch {
      if (mine === this.#opening) this.#cannot(this.#mime);
    }
  }

  #binary(data: ArrayBuffer): void {
    if (this.#state.pictures) {
      this.#next_picture = data;
      void this.#draw();
      return;
    }
    // Before an init it belongs to nothing.
    if (!this.#begun || this.#labels === null) return;
    const waiting = this.#deck?.queue.waiting_bytes ?? this.#early.reduce((sum, piece) => sum + piece.byteLength, 0);
    if (waiting > WAITING_BYTES_MAX) this.#restart();
    else if (this.#deck === null) this.#early.push(data);
    else this.#deck.queue.append(data);
  }

  /** Shows the newest picture; those that came while one was being drawn are passed over. */
  async #draw(): Promise<void> {
    if (this.#drawing) return;
    this.#drawing = true;
    while (this.#next_picture !== null) {
      const url = URL.createObjectURL(new Blob([this.#next_picture], { type: 'image/jpeg' }));
      this.#next_picture = null;
      const before = this.#picture;
      this.#picture = url;
      this.options.image.src = url;
      try {
        await this.options.image.decode();
        this.#set({ phase: 'playing', lag_ms: this.#behind(this.#label) });
      } catch {
        // One broken picture; the next replaces it.
      }
      if (before !== null) URL.revokeObjectURL(before);
    }
    this.#drawing = false;
  }

  #steer(): void {
    const { video } = this.options;
    if (performance.now() > this.#skipped_until && this.#state.skipped > 0) this.#set({ skipped: 0 });
    if (this.#deck === null || this.#labels === null) return;
    if (video.error !== null) {
      this.#restart();
      return;
    }
    // An element that does not know its media yet forgets where it was sent to.
    if (video.readyState === HTMLMediaElement.HAVE_NOTHING) return;
    const { queue } = this.#deck;
    const ranges = queue.ranges;
    const move = steer(ranges, video.currentTime, this.#step.step_s);
    if (move.seek_s !== null) video.currentTime = move.seek_s;
    if (video.playbackRate !== move.rate) video.playbackRate = move.rate;
    // The browser itself pauses a tab that it takes for silent.
    if (video.paused && ranges.length > 0 && !document.hidden) void video.play().catch(() => {});
    const first = ranges[0];
    if (first !== undefined && video.currentTime - first.start > TRIM_S) queue.remove(0, video.currentTime - KEEP_S);
    if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && this.#state.phase !== 'waiting' && this.#state.phase !== 'lost') {
      this.#set({ phase: 'playing', lag_ms: this.#behind(this.#labels.at(video.currentTime)) });
    }
  }

  /** How far a label is behind the present of the node. */
  #behind(label: number | null): number | null {
    if (this.#clock === null || label === null) return null;
    return Math.max(0, this.#clock.sent + (performance.now() - this.#clock.here) - label);
  }

  #cannot(codec: string): void {
    const name = codecName(codec);
    this.#reset();
    if (this.#state.stream === 'main' && this.options.has_sub) {
      this.#set({ stream: 'sub', unplayable: name, phase: 'connecting' });
      this.#dial();
      return;
    }
    // The socket stays: the camera may be set to another codec.
    this.#set({ phase: 'unplayable', unplayable: this.#state.unplayable ?? name, lag_ms: null });
  }

  /** Begins anew from the newest key frame: what is here cannot go on. */
  #restart(): void {
    this.#reset();
    this.#set({ phase: 'connecting', lag_ms: null });
    this.#line?.restart();
  }

  #reset(): void {
    this.#opening += 1;
    this.#deck?.close();
    this.#deck = null;
    this.#labels = null;
    this.#begun = false;
    this.#offset_s = 0;
    this.#early = [];
    this.#step = new EdgeStep();
  }

  #set(change: Partial<LiveState>): void {
    this.#state = { ...this.#state, ...change };
    this.options.changed(this.#state);
  }
}
