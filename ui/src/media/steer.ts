/**
 * Keeps a live picture at the live edge. Pure: what is buffered and where playing is give what to do.
 *
 * The edge moves in steps, as pieces come. A cushion of one such step is needed so that playing does not run dry before
 * the next; what is behind by more is made up by playing a little faster, and what is far behind by a jump.
 */

import { overHole, type Range } from './ranges';

/** Behind the cushion by more than this: jump. */
export const JUMP_S = 1;
/** Behind the cushion by more than this: play faster. */
const HURRY_S = 0.25;
/** The cushion is never thinner than this: the decoder needs some pictures, too. */
const CUSHION_S_MIN = 0.25;
/** Nor thicker, whatever the camera's pieces are like. */
const CUSHION_S_MAX = 2.5;

/** What to do. */
export interface Move {
  /** Where to go; `null` to stay. */
  seek_s: number | null;
  /** How fast to play. */
  rate: number;
}

/** How much lies between the edge and the place to play at. */
export function cushion(step_s: number): number {
  return Math.min(Math.max(step_s * 1.5, CUSHION_S_MIN), CUSHION_S_MAX);
}

/** Decides, with the step in which the edge moved lately. */
export function steer(ranges: readonly Range[], position_s: number, step_s: number): Move {
  const last = ranges.at(-1);
  if (last === undefined) return { seek_s: null, rate: 1 };
  const wanted = cushion(step_s);
  const target = Math.max(last.start, last.end - wanted);
  const behind = last.end - position_s;
  if (behind > wanted + JUMP_S || position_s > last.end + JUMP_S) return { seek_s: target, rate: 1 };
  const over = overHole(ranges, position_s);
  if (over !== null) return { seek_s: Math.max(over, target), rate: 1 };
  if (position_s < last.start && ranges.length === 1) return { seek_s: target, rate: 1 };
  // A change of speed by a few percent is not seen; sound of a tile is off.
  if (behind > wanted + HURRY_S) return { seek_s: null, rate: 1.08 };
  if (behind < wanted / 3) return { seek_s: null, rate: 0.95 };
  return { seek_s: null, rate: 1 };
}

/** The step in which the edge moves: the largest of late, forgotten by and by. */
export class EdgeStep {
  #edge: number | null = null;
  step_s = 0.2;

  /** The edge after something was appended. */
  moved(edge_s: number): void {
    const step = this.#edge === null ? 0 : edge_s - this.#edge;
    this.#edge = edge_s;
    // A jump by many seconds is another session, not a step.
    if (step > 0 && step < CUSHION_S_MAX) this.step_s = Math.max(step, this.step_s * 0.98);
  }
}
