import { beforeEach, describe, expect, it } from 'vitest';
import { AppendQueue, type Sink } from './mse';
import type { Range } from './ranges';

/** A source buffer that holds numbers: a piece of n bytes is n seconds of media, appended behind the last. */
class FakeSink implements Sink {
  updating = false;
  timestampOffset = 0;
  appendWindowStart = 0;
  ranges: Range[] = [];
  log: string[] = [];
  quota = Number.POSITIVE_INFINITY;
  broken = false;
  #listeners = new Map<string, () => void>();

  get buffered(): TimeRanges {
    const { ranges } = this;
    return { length: ranges.length, start: (i) => (ranges[i] as Range).start, end: (i) => (ranges[i] as Range).end };
  }

  get held(): number {
    return this.ranges.reduce((sum, range) => sum + range.end - range.start, 0);
  }

  appendBuffer(data: BufferSource): void {
    if (this.updating) throw new DOMException('busy', 'InvalidStateError');
    if (this.broken) throw new DOMException('gone', 'InvalidStateError');
    if (this.held + data.byteLength > this.quota) throw new DOMException('full', 'QuotaExceededError');
    this.updating = true;
    this.log.push(`append ${data.byteLength}`);
    const last = this.ranges.at(-1);
    if (last) last.end += data.byteLength;
    else this.ranges.push({ start: 0, end: data.byteLength });
  }

  remove(start: number, end: number): void {
    if (this.updating) throw new DOMException('busy', 'InvalidStateError');
    this.updating = true;
    this.log.push(`remove ${start}-${end}`);
    this.ranges = this.ranges.flatMap((range) => [
      { start: range.start, end: Math.min(range.end, start) }, { start: Math.max(range.start, end), end: range.end },
    ]).filter((range) => range.end > range.start);
  }

  abort(): void {
    if (this.updating) throw new DOMException('busy', 'InvalidStateError');
    this.log.push('abort');
  }

  changeType(mime: string): void {
    if (this.updating) throw new DOMException('busy', 'InvalidStateError');
    this.log.push(`type ${mime}`);
  }

  addEventListener(name: string, call: () => void): void {
    this.#listeners.set(name, call);
  }

  /** The browser finishes what it was doing. */
  done(name: 'updateend' | 'error' = 'updateend'): void {
    this.updating = false;
    this.#listeners.get(name)?.();
  }

  settle(): void {
    while (this.updating) this.done();
  }
}

let sink: FakeSink;
let position: number;
let told: string[];
let queue: AppendQueue;

beforeEach(() => {
  sink = new FakeSink();
  position = 0;
  told = [];
  queue = new AppendQueue(sink, 'a', () => position, { full: () => told.push('full'), failed: (why) => told.push(why) });
});

const piece = (bytes: number): ArrayBuffer => new ArrayBuffer(bytes);

describe('pieces', () => {
  it('go in one at a time and in order', () => {
    queue.append(piece(1));
    queue.append(piece(2));
    queue.append(piece(3));
    expect(sink.log).toEqual(['append 1']);
    expect(queue.waiting_bytes).toBe(5);
    sink.settle();
    expect(sink.log).toEqual(['append 1', 'append 2', 'append 3']);
    expect(queue.waiting_bytes).toBe(0);
  });

  it('of another time line and codec are told from those before', () => {
    queue.append(piece(1));
    queue.line('b', 7, 9);
    queue.append(piece(2));
    expect([sink.timestampOffset, sink.appendWindowStart]).toEqual([0, 0]);
    sink.settle();
    expect(sink.log).toEqual(['append 1', 'type b', 'append 2']);
    expect([sink.timestampOffset, sink.appendWindowStart]).toEqual([7, 9]);
  });

  it('of another socket are placed behind all that came before them', () => {
    queue.append(piece(3));
    queue.line('a', (end_s) => end_s);
    queue.append(piece(2));
    sink.settle();
    expect(sink.timestampOffset).toBe(3);
  });

  it('of the same codec do not reset the decoder', () => {
    queue.line('a', 3);
    queue.append(piece(1));
    sink.settle();
    expect(sink.log).toEqual(['append 1']);
  });

  it('that wait are forgotten when all is cleared, also during a removal, which must not be aborted', async () => {
    queue.append(piece(10));
    sink.settle();
    queue.remove(0, 2);
    queue.append(piece(1));
    queue.clear();
    const reached = queue.reached();
    queue.append(piece(4));
    sink.settle();
    await reached;
    expect(sink.log).toEqual(['append 10', 'remove 0-2', 'abort', 'remove 0-Infinity', 'append 4']);
  });
});

describe('the quota', () => {
  it('is met by taking out what was played, and the piece goes in afterwards', () => {
    sink.quota = 10;
    queue.append(piece(8));
    sink.settle();
    position = 6;
    queue.append(piece(4));
    sink.settle();
    expect(sink.log).toEqual(['append 8', 'remove 0-4', 'append 4']);
    expect(told).toEqual([]);
  });

  it('that is used up by what is still to be played is told, and waits to be resumed', () => {
    sink.quota = 10;
    queue.append(piece(8));
    sink.settle();
    queue.append(piece(4));
    expect(told).toEqual(['full']);
    queue.append(piece(1));
    expect(sink.log).toEqual(['append 8']);
    position = 8;
    queue.resume();
    sink.settle();
    expect(sink.log).toEqual(['append 8', 'remove 0-6', 'append 4', 'append 1']);
  });
});

describe('a source buffer of no use', () => {
  it('is told once, and nothing more is tried', () => {
    sink.broken = true;
    queue.append(piece(1));
    queue.append(piece(1));
    expect(told).toHaveLength(1);
    expect(queue.waiting_bytes).toBe(0);
  });

  it('is told when the browser cannot read a piece', async () => {
    queue.append(piece(1));
    const reached = queue.reached();
    sink.done('error');
    await reached;
    expect(told).toEqual(['the browser cannot read what the recorder sent']);
    queue.append(piece(1));
    expect(sink.log).toEqual(['append 1']);
  });
});

it('whoever waits for what was appended is told when it is in', async () => {
  let in_ = false;
  queue.append(piece(1));
  const reached = queue.reached().then(() => { in_ = true; });
  await Promise.resolve();
  expect(in_).toBe(false);
  sink.settle();
  await reached;
  expect(in_).toBe(true);
});
