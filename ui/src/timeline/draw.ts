/**
 * How coverage looks: one function for the timeline and for its legend, so that the two cannot differ.
 *
 * A kind is told by colour, by pattern, by a letter where there is room, and by words on hover; never by colour alone.
 */

import type { Kind, Stretch } from './coverage';
import { type Tick, toX, type View } from './view';

/** Height of a row, of its bar, and of a gap, which is taller than the row's bar. */
export const ROW_PX = 26;
const BAR_PX = 14;
const GAP_PX = 22;
/** A gap is never narrower: at a day on a screen, a minute would be invisible. */
const GAP_WIDTH_PX_MIN = 4;
/** Narrowest stretch with a letter in it. */
const LETTER_PX_MIN = 18;

/** The letter of each kind. */
export const LETTERS: Record<Kind, string> = {
  primary: 'P', standby: 'S', edge: 'E', gap: '!', backfill: 'E?', expired: '–', unscheduled: '·', no_alarm: 'A', unknown: '?', pending: '',
};

/** Colours, as the style sheet has them. */
export interface Theme {
  panel: string;
  ink: string;
  quiet: string;
  line: string;
  accent: string;
  mark: string;
  fill: Record<Kind, string>;
  on: Record<Kind, string>;
  halo: string;
}

/** Reads the colours that hold at an element. */
export function themeOf(element: Element): Theme {
  const style = getComputedStyle(element);
  const color = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const none = color('none');
  return {
    panel: color('panel'), ink: color('ink'), quiet: color('ink-quiet'), line: color('line'), accent: color('accent'),
    mark: color('mark'), halo: color('gap-halo'),
    fill: {
      primary: color('primary'), standby: color('standby'), edge: color('edge'), gap: color('gap'), backfill: color('edge'),
      expired: none, unscheduled: none, no_alarm: none, unknown: color('unknown'), pending: 'transparent',
    },
    on: {
      primary: color('on-primary'), standby: color('on-standby'), edge: color('on-edge'), gap: color('on-gap'),
      backfill: color('ink'), expired: color('ink-quiet'), unscheduled: color('ink-quiet'), no_alarm: color('ink-quiet'), unknown: color('ink-quiet'), pending: 'transparent',
    },
  };
}

/** Paints one stretch into the row whose middle is at `middle`. */
export function paint(context: CanvasRenderingContext2D, kind: Kind, x: number, middle: number, width: number, theme: Theme): void {
  if (kind === 'pending') return;
  const gap = kind === 'gap' || kind === 'backfill';
  const wide = gap ? Math.max(width, GAP_WIDTH_PX_MIN) : width;
  const left = gap ? x - (wide - width) / 2 : x;
  const height = gap ? GAP_PX : BAR_PX;
  const top = middle - height / 2;
  if (kind === 'primary' || kind === 'gap') {
    context.fillStyle = theme.fill[kind];
    context.fillRect(left, top, wide, height);
  } else pattern(context, kind, left, top, wide, height, theme);
  if (gap) {
    context.strokeStyle = theme.halo;
    context.lineWidth = 1;
    context.strokeRect(left - 0.5, top - 0.5, wide + 1, height + 1);
  }
  if (wide >= LETTER_PX_MIN) letter(context, kind, left, middle, wide, theme);
}

/** Fills a stretch with the pattern of its kind. */
function pattern(
  context: CanvasRenderingContext2D, kind: Kind, left: number, top: number, wide: number, height: number, theme: Theme,
): void {
  const middle = top + height / 2;
  context.save();
  context.beginPath();
  context.rect(left, top, wide, height);
  context.clip();
  context.fillStyle = theme.fill[kind];
  context.strokeStyle = theme.fill[kind];
  switch (kind) {
    case 'standby':
      context.fillRect(left, top, wide, height);
      context.strokeStyle = theme.on.standby;
      diagonals(context, left, top, wide, height, 8, 2);
      break;
    case 'edge':
      context.fillRect(left, top, wide, height);
      context.fillStyle = theme.on.edge;
      for (const line of [3, 7, 11]) context.fillRect(left, top + line - 0.5, wide, 1);
      break;
    case 'backfill':
      context.lineWidth = 4;
      context.strokeRect(left, top, wide, height);
      context.fillStyle = theme.fill.gap;
      context.fillRect(left, middle - 2, wide, 4);
      break;
    case 'expired':
      context.lineWidth = 2;
      context.strokeRect(left, top, wide, height);
      break;
    case 'unscheduled':
      for (let dot = left + 2; dot < left + wide; dot += 6) context.fillRect(dot, middle - 1, 2, 2);
      break;
    case 'no_alarm':
      context.fillRect(left, middle - 1, wide, 2);
      break;
    case 'unknown':
      diagonals(context, left, top, wide, height, 5, 1);
      break;
    case 'primary':
    case 'gap':
    case 'pending':
    // Solid, or nothing.
  }
  context.restore();
}

function diagonals(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number, step: number, line: number): void {
  context.lineWidth = line;
  context.beginPath();
  // From a fixed origin, so that the stripes stand still when neighbours are painted one by one.
  for (let start = Math.floor((x - height) / step) * step; start < x + width; start += step) {
    context.moveTo(start, y + height);
    context.lineTo(start + height, y);
  }
  context.stroke();
}

/** Widths of the letters, once they were measured. */
const letter_px = new Map<Kind, number>();

/** Sets what all letters share, before the first stretch is painted. */
export function prepareLetters(context: CanvasRenderingContext2D): void {
  context.font = 'bold 11px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.textAlign = 'left';
}

function letter(context: CanvasRenderingContext2D, kind: Kind, left: number, middle: number, wide: number, theme: Theme): void {
  const text = LETTERS[kind];
  // Measuring is what costs most of all, and a letter is as wide each time.
  let width = letter_px.get(kind);
  if (width === undefined) {
    width = context.measureText(text).width + 6;
    letter_px.set(kind, width);
  }
  if (width > wide) return;
  const ground = kind === 'expired' || kind === 'unscheduled' || kind === 'no_alarm' || kind === 'unknown' || kind === 'backfill' ? theme.panel : theme.fill[kind];
  context.fillStyle = ground;
  context.fillRect(left + 3, middle - 6, width, 12);
  context.fillStyle = theme.on[kind];
  context.fillText(text, left + 6, middle + 0.5);
}

/** What is painted besides coverage. */
export interface Marks {
  cursor: number | null;
  now: number;
  mark_in: number | null;
  mark_out: number | null;
  /** The row that is chosen; -1 for none. */
  chosen: number;
}

/** Paints all rows. */
export function paintRows(
  context: CanvasRenderingContext2D, rows: readonly (readonly Stretch[])[], view: View, width: number, marks: Marks, theme: Theme,
): void {
  const height = rows.length * ROW_PX;
  context.clearRect(0, 0, width, height);
  prepareLetters(context);
  rows.forEach((row, index) => {
    const top = index * ROW_PX;
    if (index === marks.chosen) {
      context.fillStyle = theme.mark;
      context.fillRect(0, top, width, ROW_PX);
    }
    context.fillStyle = theme.line;
    context.fillRect(0, top + ROW_PX - 1, width, 1);
    const middle = top + ROW_PX / 2;
    // Gaps last: what is next to them must not cover their halo.
    for (const late of [false, true]) {
      for (const stretch of row) {
        if ((stretch.kind === 'gap' || stretch.kind === 'backfill') !== late) continue;
        // Whole pixels: half covered ones between neighbours would look like a hole.
        const from = Math.round(Math.max(0, toX(view, width, stretch.from)));
        const to = Math.round(Math.min(width, toX(view, width, stretch.to)));
        if (to < 0 || from > width || to < from) continue;
        paint(context, stretch.kind, from, middle, to - from, theme);
      }
    }
  });
  paintMarks(context, view, width, height, marks, theme);
}

function paintMarks(context: CanvasRenderingContext2D, view: View, width: number, height: number, marks: Marks, theme: Theme): void {
  const { mark_in, mark_out } = marks;
  if (mark_in !== null || mark_out !== null) {
    const from = mark_in === null ? 0 : toX(view, width, mark_in);
    const to = mark_out === null ? width : toX(view, width, mark_out);
    context.fillStyle = theme.mark;
    context.fillRect(from, 0, Math.max(0, to - from), height);
    context.fillStyle = theme.accent;
    if (mark_in !== null) context.fillRect(from - 1, 0, 2, height);
    if (mark_out !== null) context.fillRect(to - 1, 0, 2, height);
  }
  const now = toX(view, width, marks.now);
  context.fillStyle = theme.quiet;
  if (now >= 0 && now <= width) for (let y = 0; y < height; y += 6) context.fillRect(now, y, 1, 3);
  if (marks.cursor === null) return;
  const cursor = toX(view, width, marks.cursor);
  context.fillStyle = theme.panel;
  context.fillRect(cursor - 2, 0, 4, height);
  context.fillStyle = theme.ink;
  context.fillRect(cursor - 1, 0, 2, height);
}

/** Paints the ruler: times, and a red mark under which some camera has a gap. */
export function paintRuler(
  context: CanvasRenderingContext2D, marks: readonly (Tick & { text: string })[], gaps: readonly Stretch[], view: View, width: number,
  height: number, theme: Theme,
): void {
  context.clearRect(0, 0, width, height);
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'top';
  context.textAlign = 'left';
  for (const mark of marks) {
    const x = toX(view, width, mark.at);
    context.fillStyle = theme.line;
    context.fillRect(x, 0, 1, height);
    context.fillStyle = mark.shows === 'day' ? theme.ink : theme.quiet;
    context.fillText(mark.text, x + 4, 2);
  }
  context.fillStyle = theme.fill.gap;
  for (const gap of gaps) {
    const from = Math.max(0, toX(view, width, gap.from));
    const to = Math.min(width, toX(view, width, gap.to));
    if (to >= 0 && from <= width && to >= from) context.fillRect(from, height - 5, Math.max(3, to - from), 5);
  }
}
