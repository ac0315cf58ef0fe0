/** Which label belongs to which media time: a line for each session, as labels jump where media time does not. */

/** Sessions that are remembered: what is buffered has far fewer. */
const LINES_MAX = 32;

/** Lines from media time to label. */
export class Labels {
  #lines: { from_s: number; base: number }[];

  /** `base` is the label of media time 0. */
  constructor(base: number) {
    this.#lines = [{ from_s: Number.NEGATIVE_INFINITY, base }];
  }

  /** From `from_s` on, the label of media time 0 would be `base`. */
  from(from_s: number, base: number): void {
    this.#lines = [...this.#lines.filter((line) => line.from_s < from_s), { from_s, base }].slice(-LINES_MAX);
  }

  /** The label at a media time. */
  at(seconds: number): number {
    const line = this.#lines.findLast(({ from_s }) => from_s <= seconds) ?? this.#lines[0];
    return (line?.base ?? 0) + seconds * 1000;
  }
}
