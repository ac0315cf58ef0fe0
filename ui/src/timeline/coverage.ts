/**
 * Coverage as a timeline needs it: kinds that have a look, and answers of the node kept in tiles, as maps do.
 *
 * A tile is a stretch of fixed begin and length at one of a ladder of resolutions. Moving and zooming then mostly finds
 * what was fetched before; tiles that touch the present, and after a while all others, are asked for again.
 */

import type { CoverageItem } from '../api/types';
import { parseTime } from '../time';
import type { View } from './view';

/** What a stretch looks like. */
export type Kind = 'primary' | 'standby' | 'edge' | 'gap' | 'backfill' | 'expired' | 'unscheduled' | 'no_alarm' | 'unknown' | 'pending';

/** A stretch of a row. */
export interface Stretch {
  from: number;
  to: number;
  kind: Kind;
  reason: string | null;
  detail: string | null;
  /** The role of the recorder that recorded it in the place of another; `null` for all else. */
  recorder: string | null;
  /** The role in whose place it did. */
  replaces: string | null;
}

/** The look of a stretch as the node tells it. */
export function kindOf(item: CoverageItem): Kind {
  switch (item.state) {
    case 'held':
      return item.origin ?? 'primary';
    case 'gap':
      // What an edge node has not sent is asked for by nobody: it comes by itself.
      return item.backfill === 'pending' || item.backfill === 'running' || item.reason === 'not_sent' ? 'backfill' : 'gap';
    case 'expired':
    case 'unscheduled':
    case 'no_alarm':
      return item.state;
    default:
      // What is still to come is no loss of knowledge.
      return item.reason === 'not_yet' ? 'pending' : 'unknown';
  }
}

/** Stretches of an answer; neighbours that look and say the same are one. */
export function stretches(items: readonly CoverageItem[]): Stretch[] {
  const found: Stretch[] = [];
  for (const item of items) {
    const from = parseTime(item.from);
    const to = parseTime(item.to);
    if (from === null || to === null || to <= from) continue;
    const kind = kindOf(item);
    const [recorder, replaces] = item.replaces === null ? [null, null] : [item.recorder, item.replaces];
    join(found, { from, to, kind, reason: item.reason, detail: item.detail, recorder, replaces });
  }
  return found;
}

/** Puts a stretch behind others; one that goes on in the same way makes the last one longer. */
function join(row: Stretch[], stretch: Stretch): void {
  const last = row.at(-1);
  const same = last && last.kind === stretch.kind && last.reason === stretch.reason && last.recorder === stretch.recorder
    && last.replaces === stretch.replaces && Math.abs(last.to - stretch.from) < 0.001;
  // A copy: what is joined is kept in tiles.
  if (same) row[row.length - 1] = { ...last, to: stretch.to };
  else row.push(stretch);
}

/** The stretch that holds `label`; `null` where nothing is known yet. */
export function stretchAt(row: readonly Stretch[], label: number): Stretch | null {
  let low = 0;
  let high = row.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((row[middle] as Stretch).to <= label) low = middle + 1;
    else high = middle;
  }
  const found = row[low];
  return found !== undefined && found.from <= label ? found : null;
}

/** Whether a stretch is a loss that stands out: what an edge node has on the way, while all is well, is none. */
export function isLoss({ kind, reason, from }: Stretch, now: number): boolean {
  return kind === 'gap' || (kind === 'backfill' && !(reason === 'not_sent' && from > now - ON_THE_WAY_MS));
}

/** The first label at which a row says anything but that the camera was not known yet; `null` when it never does. */
export function begins(row: readonly Stretch[]): number | null {
  const known = row.find(({ kind, reason }) => kind !== 'pending' && !(kind === 'unknown' && reason === 'not_configured'));
  return known?.from ?? null;
}

/** The newest footage of an edge node is no older while all is well, as the recorder judges, too. */
const ON_THE_WAY_MS = 180_000;

/** Lengths of a bucket, finest first; 0 stands for the exact stretches. */
const BUCKETS_MS = [
  0, 1_000, 2_000, 5_000, 15_000, 30_000, 60_000, 120_000, 300_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000,
];
/** Buckets of a tile, and the length of one with exact stretches. */
export const TILE_BUCKETS = 960;
const EXACT_TILE_MS = 600_000;

/** Tiles of one resolution. */
export interface Level {
  /** Length of a bucket; 0 for exact stretches. */
  bucket_ms: number;
  /** Length of a tile. */
  tile_ms: number;
}

/** The resolution at which a bucket is at most two pixels wide. */
export function levelFor(view: View, width: number): Level {
  const pixel = (view.to - view.from) / Math.max(1, width);
  const bucket_ms = BUCKETS_MS.findLast((bucket) => bucket <= pixel * 2) ?? 0;
  return { bucket_ms, tile_ms: bucket_ms === 0 ? EXACT_TILE_MS : bucket_ms * TILE_BUCKETS };
}

/** How the node is asked. */
export type Ask = (camera: string, view: View, buckets: number | undefined, signal: AbortSignal) => Promise<CoverageItem[]>;

interface Order {
  key: string;
  camera: string;
  view: View;
  level: Level;
}

interface Tile {
  row: Stretch[] | null;
  asked: boolean;
  /** When it is to be asked for again. */
  due: number;
  used: number;
}

/** Questions to the node at a time: a browser grants six connections to one server, and pictures need some. */
const ASKED_MAX = 3;
/** Most tiles kept. */
const TILES_MAX = 3000;
/** What is younger than this still changes by itself. */
const PRESENT_MS = 30_000;
/** When a tile is asked for again: one that touches the present, one in which something is still to come, and any other. */
const FRESH_MS = 2000;
const COMING_MS = 10_000;
const OLD_MS = 300_000;
/** After an error. */
const RETRY_MS = 5000;

/** Coverage of all cameras, fetched as it is looked at. */
export class CoverageTiles {
  #tiles = new Map<string, Tile>();
  /** Tiles that nobody has seen yet, and those that are only looked up again. */
  #first: Order[] = [];
  #again: Order[] = [];
  #asked = 0;
  #order = new AbortController();

  constructor(
    private readonly ask: Ask,
    /** Something came: what is shown may be drawn anew. */
    private readonly changed: () => void,
    private readonly failed: (error: unknown) => void,
    private readonly now: () => number = Date.now,
  ) {}

  /** What is known of a camera in a window, and asks for what is not. */
  row(camera: string, view: View, width: number): Stretch[] {
    const level = levelFor(view, width);
    const row: Stretch[] = [];
    const first = Math.floor(view.from / level.tile_ms);
    const last = Math.floor((view.to - 0.001) / level.tile_ms);
    for (let index = first; index <= last; index += 1) {
      const tile = this.#tile(camera, level, index);
      const part = { from: index * level.tile_ms, to: (index + 1) * level.tile_ms };
      for (const stretch of tile.row ?? this.#other(camera, level, part)) join(row, stretch);
    }
    return row;
  }

  /** Asks for no more. */
  close(): void {
    this.#order.abort();
    this.#first = [];
    this.#again = [];
  }

  #tile(camera: string, level: Level, index: number): Tile {
    const key = `${level.bucket_ms}|${index}|${camera}`;
    const now = this.now();
    let tile = this.#tiles.get(key);
    if (tile === undefined) {
      tile = { row: null, asked: false, due: now, used: now };
      this.#tiles.set(key, tile);
    }
    tile.used = now;
    const from = index * level.tile_ms;
    // The future needs no question.
    if (from > now) return { ...tile, row: tile.row ?? [] };
    if (!tile.asked && now >= tile.due) {
      tile.asked = true;
      const view = { from, to: from + level.tile_ms };
      (tile.row === null ? this.#first : this.#again).push({ key, camera, view, level });
      this.#next();
    }
    return tile;
  }

  /** What tiles of another resolution know of a stretch, cut to it. */
  #other(camera: string, level: Level, part: View): Stretch[] {
    const position = BUCKETS_MS.indexOf(level.bucket_ms);
    for (const distance of [1, 2, 3, -1, -2]) {
      const bucket_ms = BUCKETS_MS[position + distance];
      if (bucket_ms === undefined) continue;
      const tile_ms = bucket_ms === 0 ? EXACT_TILE_MS : bucket_ms * TILE_BUCKETS;
      const row: Stretch[] = [];
      for (let index = Math.floor(part.from / tile_ms); index * tile_ms < part.to; index += 1) {
        const tile = this.#tiles.get(`${bucket_ms}|${index}|${camera}`);
        for (const stretch of tile?.row ?? []) {
          if (stretch.to <= part.from || stretch.from >= part.to) continue;
          row.push({ ...stretch, from: Math.max(stretch.from, part.from), to: Math.min(stretch.to, part.to) });
        }
      }
      if (row.length > 0) return row;
    }
    return [];
  }

  #next(): void {
    while (this.#asked < ASKED_MAX) {
      const order = this.#first.shift() ?? this.#again.shift();
      if (order === undefined) return;
      this.#asked += 1;
      void this.#fetch(order).finally(() => {
        this.#asked -= 1;
        this.#next();
      });
    }
  }

  async #fetch({ key, camera, view, level }: Order): Promise<void> {
    const tile = this.#tiles.get(key);
    if (tile === undefined) return;
    // Somebody zoomed on: nobody waits for it any more.
    if (this.now() - tile.used > 5000) {
      tile.asked = false;
      return;
    }
    try {
      const items = await this.ask(camera, view, level.bucket_ms === 0 ? undefined : TILE_BUCKETS, this.#order.signal);
      tile.row = stretches(items);
      const now = this.now();
      const present = view.to > now - PRESENT_MS;
      const coming = tile.row.some(({ kind }) => kind === 'backfill');
      tile.due = now + (present || coming ? Math.max(present ? FRESH_MS : COMING_MS, level.bucket_ms / 4) : OLD_MS);
      this.#forget();
      this.changed();
    } catch (error) {
      if (this.#order.signal.aborted) return;
      tile.due = this.now() + RETRY_MS;
      this.failed(error);
    } finally {
      tile.asked = false;
    }
  }

  #forget(): void {
    if (this.#tiles.size <= TILES_MAX) return;
    const oldest = [...this.#tiles].filter(([, tile]) => !tile.asked).sort(([, a], [, b]) => a.used - b.used);
    for (const [key] of oldest.slice(0, TILES_MAX / 4)) this.#tiles.delete(key);
  }
}
