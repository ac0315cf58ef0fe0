/**
 * The window that a timeline shows, and its ruler. Pure; labels in milliseconds, places in pixels.
 */

/** A window of labels. */
export interface View {
  from: number;
  to: number;
}

/** Shortest and longest window. */
export const SPAN_MS_MIN = 10_000;
export const SPAN_MS_MAX = 400 * 86_400_000;

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Steps of the ruler. */
const STEPS = [
  SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 84 * DAY,
];

/** Room that a text of the ruler needs. */
const TICK_PX_MIN = 76;

/** Longest and shortest window that one begins with. */
export const OPENING_MS_MAX = 24 * HOUR;
const OPENING_MS_MIN = 10 * MINUTE;
/** Share of such a window that is still to come. */
const AHEAD = 0.03;

/** The window of length `span` that ends a little behind the present. */
export function present(now: number, span: number): View {
  return { from: now - span * (1 - AHEAD), to: now + span * AHEAD };
}

/** The window to begin with: all since `begin`, when anything was known first, and not much besides. `null` is never. */
export function opening(now: number, begin: number | null): View {
  const known = begin === null ? 0 : (now - begin) / (1 - 2 * AHEAD);
  return present(now, Math.min(Math.max(known, OPENING_MS_MIN), OPENING_MS_MAX));
}

/** The window of length `span` around `at`. */
export function around(at: number, span: number): View {
  const length = Math.min(Math.max(span, SPAN_MS_MIN), SPAN_MS_MAX);
  return { from: at - length / 2, to: at + length / 2 };
}

/** The window made longer or shorter by `factor`, with `at` staying where it is. */
export function zoom(view: View, factor: number, at: number): View {
  const span = view.to - view.from;
  const length = Math.min(Math.max(span * factor, SPAN_MS_MIN), SPAN_MS_MAX);
  const share = Math.min(Math.max((at - view.from) / span, 0), 1);
  const from = at - share * length;
  return at < view.from || at > view.to ? around((view.from + view.to) / 2, length) : { from, to: from + length };
}

/** The window moved by `ms`. */
export function pan(view: View, ms: number): View {
  return { from: view.from + ms, to: view.to + ms };
}

/** The window moved, if it has to be, so that `at` is well inside of it. */
export function follow(view: View, at: number): View {
  const span = view.to - view.from;
  if (at >= view.from && at <= view.to - span * 0.02) return view;
  // What follows is of more interest than what was.
  return { from: at - span * 0.1, to: at + span * 0.9 };
}

/** The place of a label in a row that is `width` wide. */
export function toX(view: View, width: number, label: number): number {
  return ((label - view.from) / (view.to - view.from)) * width;
}

/** The label at a place. */
export function toLabel(view: View, width: number, x: number): number {
  return view.from + (x / Math.max(1, width)) * (view.to - view.from);
}

/** A mark of the ruler. */
export interface Tick {
  at: number;
  /** What is written at it: the day where one begins, else the time, with seconds where they matter. */
  shows: 'day' | 'minute' | 'second';
}

/** The marks of the ruler, at round times of the zone whose distance from UTC `offset` tells, in milliseconds. */
export function ticks(view: View, width: number, offset: (at: number) => number): Tick[] {
  const span = view.to - view.from;
  const most = Math.max(1, width / TICK_PX_MIN);
  const step = STEPS.find((candidate) => span / candidate <= most) ?? (STEPS.at(-1) as number);
  const found: Tick[] = [];
  let local = Math.ceil((view.from + offset(view.from)) / step) * step;
  // A day of the change to summer time moves the distance by an hour: each mark asks for its own.
  for (let n = 0; n <= most + 2; n += 1, local += step) {
    const guess = local - offset(view.from);
    const at = local - offset(guess);
    if (at > view.to) break;
    if (at < view.from) continue;
    const day = local % DAY === 0;
    found.push({ at, shows: day ? 'day' : step < MINUTE ? 'second' : 'minute' });
  }
  return found;
}
