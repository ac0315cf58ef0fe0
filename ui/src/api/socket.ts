/**
 * One WebSocket that is dialled anew for ever, with a distance that grows, and that is given up when it falls silent.
 *
 * One socket carries the state of the node to a page: several event streams over HTTP/1.1 would use up the
 * connections that a browser grants to one server, and the seventh tab would not even load.
 */

/** Shortest and longest pause before a new try: a node that restarts is found at once, one that is away is not flooded. */
const PAUSE_MS_MIN = 250;
const PAUSE_MS_MAX = 10_000;

/** `WebSocket.CONNECTING`, where there is no `WebSocket`. */
const CONNECTING = 0;

/** What the owner of a line is told. */
export interface LineEvents {
  /** The socket stands; texts may be sent. */
  opened?(send: (text: string) => void): void;
  text(text: string): void;
  binary?(data: ArrayBuffer): void;
  /** It broke; the next try comes by itself unless [`Line.close`] is called. */
  closed?(code: number, reason: string): void;
}

/** What a line needs of the world; replaced in tests. */
export interface LineWorld {
  connect(url: string): WebSocket;
  after(ms: number, call: () => void): () => void;
  /** 0 up to 1. */
  chance(): number;
}

const browser: LineWorld = {
  connect: (url) => new WebSocket(url),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  chance: Math.random,
};

/** A line to the node. */
export class Line {
  #socket: WebSocket | null = null;
  #failures = 0;
  #cancelTry: (() => void) | null = null;
  #cancelSilence: (() => void) | null = null;
  #closed = false;

  constructor(
    private readonly url: () => string,
    private readonly events: LineEvents,
    /** Longest silence that is believed. */
    private readonly silence_ms: number,
    private readonly world: LineWorld = browser,
  ) {
    this.#dial();
  }

  /** Ends it for good. */
  close(): void {
    this.#closed = true;
    this.#cancelTry?.();
    const socket = this.#socket;
    if (socket?.readyState === CONNECTING) {
      // Closed before it stands, it would be an error to the browser's console, and none to anybody else.
      this.#forget(socket);
      socket.onopen = () => socket.close();
    } else this.#drop();
  }

  /** Gives up what stands and dials anew at once: something that came made no sense. */
  restart(): void {
    if (this.#closed) return;
    this.#drop();
    this.#again();
  }

  #dial(): void {
    this.#cancelTry = null;
    const socket = this.world.connect(this.url());
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#listen(socket);
    // Also while it is being connected: a firewall may swallow every packet.
    this.#heard();
  }

  #listen(socket: WebSocket): void {
    socket.onopen = () => {
      this.#heard();
      this.events.opened?.((text) => socket.send(text));
    };
    socket.onmessage = (message: MessageEvent<unknown>) => {
      this.#heard();
      this.#failures = 0;
      if (typeof message.data === 'string') this.events.text(message.data);
      else if (message.data instanceof ArrayBuffer) this.events.binary?.(message.data);
    };
    socket.onclose = (close: CloseEvent) => {
      this.#drop();
      this.events.closed?.(close.code, close.reason);
      this.#again();
    };
  }

  #heard(): void {
    this.#cancelSilence?.();
    this.#cancelSilence = this.world.after(this.silence_ms, () => {
      this.#drop();
      this.events.closed?.(1006, 'silence');
      this.#again();
    });
  }

  #drop(): void {
    const socket = this.#socket;
    if (socket === null) return;
    this.#forget(socket);
    socket.close();
  }

  #forget(socket: WebSocket): void {
    this.#cancelSilence?.();
    this.#cancelSilence = null;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
  }

  #again(): void {
    if (this.#closed || this.#cancelTry !== null) return;
    const pause = Math.min(PAUSE_MS_MIN * 2 ** this.#failures, PAUSE_MS_MAX);
    this.#failures = Math.min(this.#failures + 1, 10);
    // Half of it by chance: after a restart of the node, sixty tiles must not all dial in the same instant.
    const ms = pause * (0.5 + this.world.chance() / 2);
    this.#cancelTry = this.world.after(ms, () => this.#dial());
  }
}
