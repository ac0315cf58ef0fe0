/**
 * A node that is made up: it answers as docs/ref/api.md says, from a model in memory, and can be put into states that a
 * real one reaches only with broken hardware. The real one is driven by the tests of the repository.
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Primary } from '../../src/api/failover';
import type { Camera, CoverageItem, ExportJob, Replenishment, Role, Scan, ScanItem, StreamName } from '../../src/api/types';
import { formatTime, parseTime } from '../../src/time';
import { FakeEdge } from './edge';
import { FPS, type Fragments, fragments, jpeg, LOOP_S, moved } from './media';
import { FakeStandby, type Answer } from './standby';

/** What the policy of the node allows its pages. */
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; " +
  "font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const TYPES: Record<string, string> = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };

/** A WebSocket of a client. */
interface Line {
  text(message: unknown): void;
  binary(data: Buffer): void;
  close(): void;
  open: boolean;
}

/** A camera of the model. */
export interface FakeCamera {
  id: string;
  name: string;
  sub?: boolean;
  /** What its live socket answers instead of pictures. */
  live?: 'waiting' | 'unplayable';
  /** It sends Motion JPEG. */
  jpeg?: boolean;
  lost?: { reason: NonNullable<Camera['reason']>; detail: string; since: number };
  ofFile?: boolean;
  /** It is another recorder's. */
  guest?: NonNullable<Camera['guest']>;
  /** An edge node sends it, and its newest footage is so old (ms). */
  relayed?: number;
}

/** Stretches that are not held, by camera. */
export interface FakeGap {
  camera: string;
  from: number;
  to: number;
  state: CoverageItem['state'];
  reason: CoverageItem['reason'];
  origin?: CoverageItem['origin'];
  recorder?: string;
  replaces?: string;
}

/** A made-up node. */
export class FakeNode {
  cameras: FakeCamera[] = [];
  gaps: FakeGap[] = [];
  role: Role | null = 'administrator';
  at: Record<string, Role> = {};
  setup: string | null = null;
  loggedIn = false;
  silent = false;
  exports: ExportJob[] = [];
  scanned: ScanItem[] = [];
  /** `null` where it does not run. */
  standby: FakeStandby | null = null;
  /** `null` where it does not run. */
  edge: FakeEdge | null = new FakeEdge(() => this.#tellAll(['edge'], this.edge?.edge));
  replenishment: Replenishment = { paused: false, bits_per_second_max: null, bits_per_second: 0, cards: false, missing_ms: 0, nowhere_ms: 0, items: [] };
  /** What changes of back-fill are answered instead. */
  refuse: Answer | null = null;
  added: Record<string, unknown>[] = [];
  asked: string[] = [];
  footage_from = Date.now() - 40 * 86_400_000;
  /** What answers about coverage wait for. */
  coverage: Promise<void> = Promise.resolve();
  #server: Server;
  #lines = new Set<Line>();
  #sockets = new Set<Socket>();
  #timers = new Set<ReturnType<typeof setInterval>>();
  #all: Fragments = fragments('all');
  #key: Fragments = fragments('key');
  #jpeg: Buffer | null = null;
  #scan: Scan | null = null;
  #seq = new WeakMap<Line, number>();
  #status = new Set<Line>();
  #live_lines = new Map<Line, (ms: number) => void>();

  constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.statusCode = 500;
        response.end(String(error));
      });
    });
    this.#server.on('upgrade', (request: IncomingMessage, socket: Socket) => this.#upgrade(request, socket));
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => {
        resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`);
      });
    });
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  /** Tells every page of a change of a camera. */
  change(id: string): void {
    this.#tellAll(['cameras', id], this.#camera(id));
  }

  /** Makes it the standby of these recorders. */
  watch(monitoring: Primary[]): FakeStandby {
    this.standby = new FakeStandby(monitoring, () => this.#tellAll(['failover'], this.standby?.lists));
    return this.standby;
  }

  /** Breaks every live socket. */
  breakLive(): void {
    for (const line of this.#live_lines.keys()) line.close();
  }

  /** The cameras were away for so long: labels jump, media time goes on. */
  seam(ms: number): void {
    for (const again of this.#live_lines.values()) again(ms);
  }

  // HTTP

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://node');
    response.setHeader('Content-Security-Policy', CSP);
    response.setHeader('X-Content-Type-Options', 'nosniff');
    this.asked.push(`${request.method} ${url.pathname}`);
    if (!url.pathname.startsWith('/api/v1/')) {
      this.#file(url.pathname, response);
      return;
    }
    const body = await bodyOf(request);
    const parts = url.pathname.split('/').slice(3).map(decodeURIComponent);
    const open = ['setup', 'login'].includes(parts[0] ?? '');
    if (!open && !this.loggedIn) {
      problem(response, 401, 'login_required', 'log in first');
      return;
    }
    if (await this.#footage(parts, url.searchParams, response)) return;
    if (parts[2] === 'coverage') await this.coverage;
    const answer = this.#route(request.method ?? 'GET', parts, url.searchParams, body);
    if (answer === undefined) problem(response, 404, 'not_found', `no route ${url.pathname}`);
    else if ('problem' in answer) problem(response, answer.problem, answer.code, answer.detail);
    else send(response, answer.status ?? 200, answer.value);
  }

  #file(path: string, response: ServerResponse): void {
    const name = path === '/' ? 'index.html' : path.slice(1);
    try {
      const bytes = readFileSync(new URL(`../../dist/${name}`, import.meta.url));
      response.setHeader('Content-Type', TYPES[name.split('.').at(-1) ?? ''] ?? 'application/octet-stream');
      response.end(bytes);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  }

  #route(
    method: string, parts: string[], query: URLSearchParams, body: Record<string, unknown>,
  ): Answer | undefined {
    const [head = '', id = '', tail = ''] = parts;
    if (head === 'edge' || head === 'edge-nodes') return this.edge?.route(method, parts, body);
    if (head === 'failover') return this.standby?.route(method, parts.slice(1), query, body);
    const session = { user: 'admin', role: this.role, cameras: this.at, via: 'cookie' };
    switch (`${method} ${head}${id ? '/*' : ''}${tail ? `/${tail}` : ''}`) {
      case 'GET setup':
        return { value: { needed: this.setup !== null, session: this.loggedIn } };
      case 'POST setup':
        if (body['code'] !== this.setup) return { problem: 403, code: 'setup_refused', detail: 'this is not the code that was printed' };
        this.setup = null;
        this.loggedIn = true;
        return { value: session };
      case 'POST login':
        if (body['password'] !== 'correct horse battery') {
          return { problem: 401, code: 'login_refused', detail: 'no such user, or not this password' };
        }
        this.loggedIn = true;
        return { value: session };
      case 'POST logout':
        this.loggedIn = false;
        return { value: null, status: 204 };
      case 'GET session':
        return { value: session };
      case 'PUT session/*':
        return { value: null, status: 204 };
      case 'GET users':
        return { value: { items: [
          { name: 'admin', role: 'administrator', cameras: {}, created: formatTime(this.footage_from) },
          { name: 'guard', role: 'viewer', cameras: { gate: 'operator' }, created: formatTime(this.footage_from) },
        ], next: null } };
      case 'POST users':
      case 'PUT users/*':
        return { value: body, status: 201 };
      case 'DELETE users/*':
        if (id === 'admin') return { problem: 409, code: 'last_administrator', detail: 'admin is the last administrator; make another one first' };
        return { value: null, status: 204 };
      case 'GET tokens':
        return { value: { items: [
          { id: 't1', name: 'backup script', user: 'admin', created: formatTime(this.footage_from), expires: null, role: 'viewer', cameras: null },
        ], next: null } };
      case 'POST tokens':
        return { value: { id: 't2', name: body['name'], token: `kw_${'A'.repeat(43)}`, expires: null, role: null, cameras: null }, status: 201 };
      case 'GET sessions':
        return { value: { items: [
          { id: 's1', user: 'admin', from: '192.0.2.7', began: formatTime(Date.now() - 600_000), used: formatTime(Date.now()), current: true },
          { id: 's2', user: 'guard', from: '192.0.2.9', began: formatTime(Date.now() - 7_200_000), used: formatTime(Date.now()), current: false },
        ], next: null } };
      case 'GET cameras/*/coverage':
        return { value: { items: query.get('buckets') === '1' ? this.#overview(id, query) : this.#coverage(id, query), next: null } };
      case 'GET cameras/*/frames': {
        const step = 1000 / FPS;
        const items = [];
        for (let label = Math.ceil(time(query, 'from') / step) * step; label < time(query, 'to'); label += step) {
          if (this.#held(id, label)) items.push({ label: formatTime(label), key: label % 1000 === 0, bytes: 1000 });
        }
        return { value: { items, next: null } };
      }
      case 'GET cameras/*/config':
        return { value: { id, name: this.#camera(id)?.name, onvif: 'http://192.0.2.10', user: 'recorder', has_password: true, transport: 'auto', audio: true, metadata: false, events: true, sub: true, retention: null, schedule: null, recording: 'continuous', pre_alarm: null, post_alarm: null, alarm_on: null, editable: true } };
      case 'POST cameras/*':
        if (body['password'] !== 'camera') return { problem: 422, code: 'camera_refused', detail: 'the camera refused the login' };
        return { value: { reachable: true, streams: [{ stream: 'main', tracks: ['h264 640x360 25 fps'], silent: ['aac 16000 Hz'], left_out: [] }], certificate: null,
          picture: `data:image/jpeg;base64,${(this.#jpeg ??= jpeg()).toString('base64')}`, picture_detail: null } };
      case 'POST cameras':
        this.added.push(body);
        this.cameras.push({ id: String(body['id']), name: String(body['name']) });
        this.change(String(body['id']));
        return { value: body, status: 201 };
      case 'POST scans':
        this.#scan = {
          id: 'scan1', running: false, since: formatTime(Date.now() - 10_000), ended: formatTime(Date.now()), asked: 0, all: 0, others: 0, failed: [],
          unreachable: [{ address: 'fe80::7', interface: 'eth0' }], items: this.scanned,
        };
        this.#tellAll(['scans', 'scan1'], this.#scan);
        return { value: { id: 'scan1' }, status: 201 };
      case 'GET replenishment':
        return { value: this.replenishment };
      case 'PUT replenishment': {
        if (this.refuse !== null) return this.refuse;
        const { paused, bits_per_second_max: most } = body as { paused?: boolean; bits_per_second_max?: number };
        this.replenishment = {
          ...this.replenishment, paused: paused ?? this.replenishment.paused, ...(most === undefined ? {} : { bits_per_second_max: most === 0 ? null : most }),
          ...(paused ? { bits_per_second: 0, items: this.replenishment.items.map((item) => ({ ...item, running: null })) } : {}),
        };
        return { value: this.replenishment };
      }
      case 'POST exports': {
        const job: ExportJob = {
          id: `e${this.exports.length + 1}`, state: 'running', progress: 0.41, bytes_done: 87_000_000, bytes_total: 212_000_000, seconds_left: 38,
          cameras: body['cameras'] as string[], from: String(body['from']), to: String(body['to']), by: 'admin', created: formatTime(Date.now()), stream: 'main', audio: true,
          expires: null, file: null, error: null,
        };
        this.exports.push(job);
        this.#tellAll(['exports', job.id], job);
        return { value: job, status: 201 };
      }
      case 'DELETE exports/*':
        this.exports = this.exports.map((job) => (job.id === id ? { ...job, state: 'cancelled' } : job));
        this.#tellAll(['exports', id], this.exports.find((job) => job.id === id));
        return { value: null, status: 204 };
      default:
        return undefined;
    }
  }

  // Footage

  #held(camera: string, label: number): boolean {
    if (label < this.footage_from || label > Date.now() - 1500) return false;
    return !this.gaps.some((gap) => gap.camera === camera && gap.state !== 'held' && label >= gap.from && label < gap.to);
  }

  #coverage(camera: string, query: URLSearchParams): CoverageItem[] {
    const from = time(query, 'from');
    const to = time(query, 'to');
    const own = this.gaps.filter((gap) => gap.camera === camera);
    const now = Date.now() - 1500;
    const cuts = [from, to, this.footage_from, now, ...own.flatMap((gap) => [gap.from, gap.to])];
    const inside = [...new Set(cuts.filter((cut) => cut >= from && cut <= to))].sort((a, b) => a - b);
    return inside.slice(0, -1).map((begin, index) => {
      const end = inside[index + 1] as number;
      const gap = own.find((other) => begin >= other.from && begin < other.to);
      const item = { from: formatTime(begin), to: formatTime(end), origin: null, backfill: null, detail: null, recorder: null, replaces: null };
      if (begin >= now) return { ...item, state: 'unknown', reason: 'not_yet' };
      if (begin < this.footage_from) return { ...item, state: 'unknown', reason: 'not_configured' };
      if (gap) return { ...item, state: gap.state, reason: gap.reason, origin: gap.origin ?? null, recorder: gap.recorder ?? null, replaces: gap.replaces ?? null };
      return { ...item, state: 'held', reason: null, origin: 'primary' };
    });
  }

  /** The window as one bucket. */
  #overview(camera: string, query: URLSearchParams): CoverageItem[] {
    const items = this.#coverage(camera, query);
    const [first] = items;
    const long = (item: CoverageItem): number => (parseTime(item.to) ?? 0) - (parseTime(item.from) ?? 0);
    const sum = (some: CoverageItem[]): number => some.reduce((whole, item) => whole + long(item), 0);
    return first === undefined ? [] : [{ ...first, to: items.at(-1)?.to ?? first.to, held: sum(items.filter((item) => item.state === 'held')) / sum(items) }];
  }

  async #footage(parts: string[], query: URLSearchParams, response: ServerResponse): Promise<boolean> {
    const [head, camera = '', tail] = parts;
    if (head !== 'cameras') return false;
    const still = this.cameras.some((other) => other.id === camera && other.jpeg);
    if (tail === 'picture.jpg') {
      const at = time(query, 'at');
      if (!this.#held(camera, at)) problem(response, 404, 'footage_missing', 'nothing is held there');
      else {
        response.setHeader('Content-Type', 'image/jpeg');
        response.setHeader('Keepwatch-Label', formatTime(Math.floor(at / 200) * 200));
        response.end((this.#jpeg ??= jpeg()));
      }
      return true;
    }
    if (tail !== 'media.mp4') return false;
    if (still) {
      problem(response, 409, 'footage_unsuitable', 'no page plays Motion JPEG');
      return true;
    }
    const { init, mime, seconds, timescale } = query.get('frames') === 'key' ? this.#key : this.#all;
    const base = time(query, 'base');
    const pieces: Buffer[] = [];
    for (let label = Math.floor(time(query, 'from') / 1000) * 1000; label < time(query, 'to'); label += 1000) {
      const fragment = seconds[Math.floor(label / 1000) % LOOP_S];
      if (fragment && this.#held(camera, label)) pieces.push(moved(fragment, BigInt(Math.round(((label - base) * timescale) / 1000))));
    }
    if (pieces.length === 0) {
      problem(response, 404, 'footage_missing', 'nothing is held in the window');
      return true;
    }
    response.setHeader('Content-Type', 'video/mp4');
    response.setHeader('Keepwatch-Mime', mime);
    response.setHeader('Keepwatch-Base', formatTime(base));
    response.setHeader('Keepwatch-First', formatTime(Math.floor(time(query, 'from') / 1000) * 1000));
    response.write(init);
    for (const piece of pieces) response.write(piece);
    response.end();
    return true;
  }

  // WebSockets

  #upgrade(request: IncomingMessage, socket: Socket): void {
    const url = new URL(request.url ?? '/', 'http://node');
    const parts = url.pathname.split('/').slice(3).map(decodeURIComponent);
    const key = request.headers['sec-websocket-key'] ?? '';
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    if (!this.loggedIn || this.silent) {
      socket.destroy();
      return;
    }
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    const line: Line = {
      open: true,
      text: (message) => write(socket, 1, Buffer.from(JSON.stringify(message))),
      binary: (data) => write(socket, 2, data),
      close: () => socket.destroy(),
    };
    this.#lines.add(line);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      line.open = false;
      this.#lines.delete(line);
      this.#status.delete(line);
      this.#live_lines.delete(line);
    });
    socket.resume();
    if (parts[0] === 'status') this.#follow(line);
    else if (parts[2] === 'live') this.#live(line, parts[1] ?? '', (url.searchParams.get('stream') ?? 'main') as StreamName);
  }

  #follow(line: Line): void {
    this.#status.add(line);
    this.#tell(line, { type: 'snapshot', value: {
      node: { name: 'north gate', role: 'role-here', version: '0.1.0', started: formatTime(this.footage_from), now: formatTime(Date.now()), cameras: this.cameras.length, recording: 0, disks: [] },
      cameras: Object.fromEntries(this.cameras.map(({ id }) => [id, this.#camera(id)])),
      exports: Object.fromEntries(this.exports.map((job) => [job.id, job])),
      scans: this.#scan === null ? {} : { [this.#scan.id]: this.#scan },
      ...(this.standby === null ? {} : { failover: this.standby.lists }),
      ...(this.edge === null || this.role === null ? {} : { edge: this.edge.edge }),
    } });
    this.#every(500, line, () => {
      if (!this.silent) this.#tell(line, { type: 'alive', now: formatTime(Date.now()) });
    });
  }

  #tellAll(path: string[], value: unknown): void {
    for (const line of this.#status) this.#tell(line, { type: 'change', path, value });
  }

  #tell(line: Line, message: Record<string, unknown>): void {
    const seq = (this.#seq.get(line) ?? 0) + 1;
    this.#seq.set(line, seq);
    line.text({ seq, ...message });
  }

  #live(line: Line, id: string, stream: StreamName): void {
    const camera = this.cameras.find((other) => other.id === id);
    if (camera?.live === 'waiting') {
      line.text({ type: 'waiting', since: formatTime(camera.lost?.since ?? Date.now()), reason: camera.lost?.reason, detail: camera.lost?.detail });
      this.#every(1000, line, () => line.text({ type: 'alive', now: formatTime(Date.now()) }));
      return;
    }
    if (camera?.live === 'unplayable' && stream === 'main') {
      line.text({ type: 'unplayable', codec: 'h265', detail: null });
      this.#every(1000, line, () => line.text({ type: 'alive', now: formatTime(Date.now()) }));
      return;
    }
    if (camera?.jpeg) {
      line.text({ type: 'init', mime: 'image/jpeg', stream, codec: 'jpeg', width: 320, height: 180, start: formatTime(Date.now()) });
      this.#every(200, line, () => {
        line.text({ type: 'time', label: formatTime(Date.now() - 200), sent: formatTime(Date.now()) });
        line.binary((this.#jpeg ??= jpeg()));
      });
      return;
    }
    const { init, mime, seconds, timescale } = this.#all;
    const start = Date.now() - 1000;
    line.text({ type: 'init', mime, stream, codec: 'h264', width: 640, height: 360, start: formatTime(start) });
    line.binary(init);
    this.#live_lines.set(line, (ms) => {
      line.text({ type: 'init', mime, stream, codec: 'h264', width: 640, height: 360, start: formatTime(start - ms) });
      line.binary(init);
    });
    let next = 0;
    const send = (): void => {
      // What ends in the future has not been filmed yet.
      for (; start + (next + 1) * 1000 <= Date.now(); next += 1) {
        const fragment = seconds[next % LOOP_S];
        if (fragment) line.binary(moved(fragment, BigInt(next * timescale)));
      }
    };
    send();
    this.#every(50, line, send);
    this.#every(1000, line, () => line.text({ type: 'time', label: formatTime(Date.now()), sent: formatTime(Date.now()) }));
  }

  #every(ms: number, line: Line, call: () => void): void {
    const timer = setInterval(() => {
      if (line.open) call();
      else {
        clearInterval(timer);
        this.#timers.delete(timer);
      }
    }, ms);
    this.#timers.add(timer);
  }

  #camera(id: string): Camera | undefined {
    const camera = this.cameras.find((other) => other.id === id);
    if (camera === undefined) return undefined;
    const { lost } = camera;
    const recording = lost === undefined && (camera.guest?.duty ?? 'record') === 'record';
    const state = {
      recording, durable_until: formatTime(lost?.since ?? Date.now() - (camera.relayed ?? 0)),
      connection: lost ? ('waiting' as const) : camera.relayed !== undefined ? ('relayed' as const) : recording ? ('recording' as const) : ('unwanted' as const),
      since: formatTime(lost?.since ?? Date.now() - 60_000), reason: lost?.reason ?? null, detail: lost?.detail ?? null, frames: 1000, lost_packets: 0,
      bad_packets: 0, durable_bytes: 0, sessions: 1,
    };
    const names: StreamName[] = camera.sub ? ['main', 'sub'] : ['main'];
    return {
      id, name: camera.name, ...state, clock_offset_ms: 0, events: null, events_detail: null, alarm: null, editable: !camera.ofFile, guest: camera.guest ?? null,
      streams: names.map((stream) => ({ stream, ...state, tracks: ['h264', 'aac'], left_out: [], certificate: null, transport: 'tcp', clock_offset_ms: 0 })),
    };
  }
}

function time(query: URLSearchParams, name: string): number {
  return parseTime(query.get(name) ?? '') ?? Number.NaN;
}

function write(socket: Socket, opcode: number, data: Buffer): void {
  if (socket.destroyed) return;
  const head = data.length < 126 ? Buffer.from([0x80 | opcode, data.length]) : data.length < 65_536 ? Buffer.alloc(4) : Buffer.alloc(10);
  head[0] = 0x80 | opcode;
  if (head.length === 4) {
    head[1] = 126;
    head.writeUInt16BE(data.length, 2);
  } else if (head.length === 10) {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(data.length), 2);
  }
  socket.write(head);
  socket.write(data);
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'application/json');
  response.end(status === 204 ? undefined : JSON.stringify(value));
}

function problem(response: ServerResponse, status: number, code: string, detail: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'application/problem+json');
  response.end(JSON.stringify({ title: code, status, code, detail }));
}
