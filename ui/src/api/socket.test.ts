import { describe, expect, it } from 'vitest';
import { Line, type LineWorld } from './socket';

/** A world without a network, whose time moves when it is told to. */
class World implements LineWorld {
  now = 0;
  dialled: number[] = [];
  sockets: FakeSocket[] = [];
  #timers = new Set<{ at: number; call: () => void }>();

  connect(): WebSocket {
    this.dialled.push(this.now);
    const socket = new FakeSocket();
    this.sockets.push(socket);
    return socket as unknown as WebSocket;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.now + ms, call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  chance(): number {
    return 1;
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.now = next.at;
      next.call();
    }
    this.now = end;
  }
}

class FakeSocket {
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((close: { code: number; reason: string }) => void) | null = null;
  onerror = null;
  binaryType = '';
  readyState = 1;
  closed = false;
  sent: string[] = [];

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.closed = true;
  }
}

function line() {
  const world = new World();
  const log: string[] = [];
  const made = new Line(() => 'ws://node', {
    opened: (send) => send('hello'),
    text: (text) => log.push(text),
    binary: (data) => log.push(`${data.byteLength} bytes`),
    closed: (code) => log.push(`closed ${code}`),
  }, 8000, world);
  return { world, log, made, socket: () => world.sockets.at(-1) as FakeSocket };
}

describe('a line', () => {
  it('hands on what comes, and greets when it stands', () => {
    const { log, socket } = line();
    socket().onopen?.();
    socket().onmessage?.({ data: 'a' });
    socket().onmessage?.({ data: new ArrayBuffer(3) });
    expect(socket().sent).toEqual(['hello']);
    expect(log).toEqual(['a', '3 bytes']);
  });

  it('is dialled anew for ever, with a distance that grows up to ten seconds', () => {
    const { world, socket } = line();
    const pauses: number[] = [];
    for (let n = 0; n < 12; n += 1) {
      const before = world.now;
      socket().onclose?.({ code: 1006, reason: '' });
      while (world.sockets.length < n + 2) world.run(10);
      pauses.push(world.now - before);
    }
    expect(pauses[0]).toBe(250);
    expect(pauses[1]).toBe(500);
    expect(pauses.slice(7)).toEqual([10_000, 10_000, 10_000, 10_000, 10_000]);
  });

  it('is dialled at once again after it had carried something', () => {
    const { world, socket } = line();
    for (let n = 0; n < 8; n += 1) {
      socket().onclose?.({ code: 1006, reason: '' });
      world.run(10_000);
    }
    socket().onmessage?.({ data: 'a' });
    const before = world.sockets.length;
    socket().onclose?.({ code: 1006, reason: '' });
    world.run(250);
    expect(world.sockets.length).toBe(before + 1);
  });

  it('that falls silent is given up, also one that never stands', () => {
    const { world, log, socket } = line();
    world.run(7_999);
    expect(socket().closed).toBe(false);
    world.run(1);
    expect(world.sockets[0]?.closed).toBe(true);
    expect(log).toEqual(['closed 1006']);
    world.run(300);
    socket().onopen?.();
    world.run(7_000);
    socket().onmessage?.({ data: 'a' });
    world.run(7_000);
    expect(socket().closed).toBe(false);
    world.run(1_000);
    expect(world.sockets[1]?.closed).toBe(true);
  });

  it('that is closed stays so', () => {
    const { world, made, socket } = line();
    made.close();
    expect(socket().closed).toBe(true);
    world.run(100_000);
    expect(world.sockets).toHaveLength(1);
  });

  it('that is closed before it stands is closed as soon as it does, without a complaint of the browser', () => {
    const { made, socket } = line();
    socket().readyState = 0;
    made.close();
    expect(socket().closed).toBe(false);
    socket().onopen?.();
    expect(socket().closed).toBe(true);
    expect(socket().sent).toEqual([]);
  });

  it('that is closed while its end is told stays so, too', () => {
    const world = new World();
    const made = new Line(() => 'ws://node', { text: () => {}, closed: () => made.close() }, 8000, world);
    world.sockets[0]?.onclose?.({ code: 1008, reason: '' });
    world.run(100_000);
    expect(world.sockets).toHaveLength(1);
  });

  it('that is restarted hears nothing of the old one any more', () => {
    const { world, log, made, socket } = line();
    const old = socket();
    made.restart();
    old.onmessage?.({ data: 'late' });
    world.run(300);
    expect(world.sockets).toHaveLength(2);
    expect(log).toEqual([]);
  });
});
