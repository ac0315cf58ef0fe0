/** Questions to what a media element has buffered; pure, in seconds of media time. */

/** A stretch of media time. */
export interface Range {
  start: number;
  end: number;
}

/** Two stretches that are this close to each other play as one. */
export const SEAM_S = 0.12;

/** The stretches of a `TimeRanges`, in order. */
export function rangesOf(buffered: TimeRanges): Range[] {
  return Array.from({ length: buffered.length }, (_, i) => ({ start: buffered.start(i), end: buffered.end(i) }));
}

/** The stretch that holds `position`; `null` when it is in none. */
export function rangeAt(ranges: readonly Range[], position: number): Range | null {
  return ranges.find((range) => position >= range.start - 0.001 && position < range.end) ?? null;
}

/** The first stretch that begins behind `position`. */
export function rangeAfter(ranges: readonly Range[], position: number): Range | null {
  return ranges.find((range) => range.start > position) ?? null;
}

/**
 * Where to go on when playing has come to a hole: the begin of the next stretch. `null` when there is no hole here, or
 * nothing behind it.
 */
export function overHole(ranges: readonly Range[], position: number): number | null {
  const here = rangeAt(ranges, position);
  if (here !== null && position < here.end - SEAM_S) return null;
  const next = rangeAfter(ranges, Math.max(position, here?.end ?? position) - 0.001);
  return next === null || next === here ? null : next.start;
}
