/** The edge role of a made-up node: what it sends, the nodes that send to it, and answers to what the page Edge asks. */

import type { Edge, EdgeLimit, EdgeLine, EdgeNode, EdgeRecorder, EdgeRegister } from '../../src/api/edge';
import { formatTime } from '../../src/time';
import type { Answer } from './standby';

const OK: Answer = { value: null, status: 204 };
const ago = (ms: number): string => formatTime(Date.now() - ms);

/** A recorder that is sent to, and answers. */
export function recorder(part: Partial<EdgeRecorder> = {}): EdgeRecorder {
  return { name: 'center', address: '192.0.2.7:8443', key: '5f'.repeat(32), since: ago(86_400_000), answered: ago(500), clock_ahead_ms: 12, away_since: null, trouble: null, ...part };
}

/** A stream that keeps up. */
export function line(camera: string, part: Partial<EdgeLine> = {}): EdgeLine {
  return {
    camera, stream: 0, wanted: true, behind_ms: 104_000, backlog_ms: 0, sent_bytes: 123_000_000, sent_records: 3600, lost_ms: 0, speed_percent: 200, rate_bits_per_second: 0,
    recorded_bits_per_second: 2_000_000, sent_bits_per_second: 2_010_000, limit_set: false, waiting_bytes: 26_000_000, depletes_in_ms: 0, cause: null, ...part,
  };
}

/** An edge node that sends here. */
export function node(name: string, cameras: string[], part: Partial<EdgeNode> = {}): EdgeNode {
  return { key: (name === 'box' ? '93' : '94').repeat(32), name, role: 'role-box', since: ago(86_400_000), heard: ago(800), cameras, ...part };
}

/** A node that sends to a recorder, and is well. */
export function sending(lines: EdgeLine[], part: Partial<Edge> = {}): Edge {
  return {
    case: 0, sentence: 'footage is recorded here and sent', sending: true, recorder: recorder(), lines, alarms: [], disks: [], unused_recorder: null, throttle_bits_per_second: 0,
    storages: [{ place: 'internal', condition: 'writable', recorded_to: true }],
    fill: { place: 'internal', used_bytes: 1_200_000_000, room_bytes: 31_000_000_000, percent: 3, warned: false, overflows_in_ms: null, warning_percent: 90, all_clear_percent: 50 },
    memory: { used_bytes: 29_000_000, max_bytes: 64_000_000 }, ...part,
  };
}

/** A made-up edge role. */
export class FakeEdge {
  /** As of a node that is told nothing. */
  edge: Edge = sending([], { sending: false, recorder: null });
  nodes: EdgeNode[] = [];
  /** What changes are answered instead. */
  refuse: Answer | null = null;
  /** How many times the rate of a camera has to leave, or it never catches up. */
  needs = 1;
  /** What was asked that changes something, in its order. */
  did: string[] = [];

  constructor(
    /** Tells every page. */
    private readonly tell: () => void,
  ) {}

  /** Changes how the relay stands, and tells. */
  set(part: Partial<Edge>): void {
    this.edge = { ...this.edge, ...part };
    this.tell();
  }

  /** Changes the lines of a camera, and tells. */
  setLines(camera: string, part: Partial<EdgeLine>): void {
    this.set({ lines: this.edge.lines.map((one) => (one.camera === camera ? { ...one, ...part } : one)) });
  }

  /** Answers; `undefined` for no such route. */
  route(method: string, parts: string[], body: Record<string, unknown>): Answer | undefined {
    if (method !== 'GET') {
      this.did.push(`${method} ${parts.join('/')} ${JSON.stringify(body)}`.replace('{}', '').trim());
      if (this.refuse !== null) return this.refuse;
    }
    const [head, id = '', tail = ''] = parts;
    switch (`${method} ${head} ${head === 'edge' ? id : id === 'tokens' ? id : id && '*'}`.trim()) {
      case 'GET edge':
        return { value: this.edge };
      case 'POST edge recorder':
        return this.#register(body as unknown as EdgeRegister);
      case 'DELETE edge recorder':
        this.set({ recorder: null, sending: false });
        return OK;
      case 'PUT edge lines': {
        const { speed_percent, rate_bits_per_second, confirm } = body as unknown as EdgeLimit;
        const { recorded_bits_per_second: recorded } = this.edge.lines.find(({ camera }) => camera === tail) ?? line(tail);
        const never = speed_percent <= 100 || (rate_bits_per_second > 0 && rate_bits_per_second <= recorded * this.needs);
        if (never && !confirm) return { problem: 409, code: 'never_depletes', detail: 'with this limit footage that was left out never leaves' };
        this.setLines(tail, { speed_percent, rate_bits_per_second, limit_set: true });
        return OK;
      }
      case 'DELETE edge lines':
        this.setLines(tail, { speed_percent: 200, rate_bits_per_second: 0, limit_set: false });
        return OK;
      case 'GET edge-nodes':
        return { value: { items: this.nodes, next: null } };
      case 'POST edge-nodes tokens':
        return { value: { token: `kwp_${'B'.repeat(43)}`, expires: formatTime(Date.now() + 3_600_000) }, status: 201 };
      case 'DELETE edge-nodes *':
        this.nodes = this.nodes.filter(({ key }) => key !== id);
        return OK;
      default:
        return undefined;
    }
  }

  #register(wish: EdgeRegister): Answer {
    if (wish.token !== 'kwp_once' && wish.password !== 'recorder') return { problem: 409, code: 'token_refused', detail: 'the recorder does not know this token; it may have been used, or be too old' };
    this.set({ recorder: recorder({ address: wish.address }), sending: true });
    return { value: { name: 'center' } };
  }
}
