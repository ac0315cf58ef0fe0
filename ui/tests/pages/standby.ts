/** The standby of a made-up node: its lists, and answers to what the page NVR Failover asks. */

import type { Backup, BackupChanges, FoundRecorder, Lists, Primary, RecorderScan, RegisterItem, Registration, Report, Running } from '../../src/api/failover';
import { formatTime } from '../../src/time';

/** An answer, as a made-up node gives it. */
export type Answer = { value: unknown; status?: number } | { problem: number; code: string; detail: string };

const OK: Answer = { value: null, status: 204 };
const ago = (ms: number): string => formatTime(Date.now() - ms);

/** A recorder that is watched, and is well. */
export function primary(role: string, name: string, host: number, part: Partial<Primary> = {}): Primary {
  return {
    role, name, address: `192.0.2.${host}:8443`, mac: `02:00:5e:10:00:${host.toString(16).padStart(2, '0')}`, mode: 'auto', priority: 10, epoch: 1, state: 'normal',
    since: null, missed: 0, why: null, detail: null, version: '0.1.0', version_differs: false, waits: false, left_to_other: false, cameras: 32,
    bits_per_second: 128_000_000, missing: [], covered_alone: [], last_backup: { number: 7, taken: ago(7_200_000), checked: ago(60_000), cameras: 32 },
    backup_problem: null, prebuffer: false, prebuffer_bytes: 112_000_000, drilling: false, tested: null, ...part,
  };
}

/** A recorder that a scan finds. */
export function found(name: string, host: number, part: Partial<FoundRecorder> = {}): FoundRecorder {
  return {
    address: `192.0.2.${host}:8443`, name, version: '0.1.0', mac: null, role: `role-${host}`, key: '5f'.repeat(32), standby: false, watched_by: [], registered: false,
    version_differs: false, ...part,
  };
}

/** A made-up standby. */
export class FakeStandby {
  lists: Lists;
  reports: Report[] = [];
  backups: Backup[] = [
    { number: 7, taken: ago(7_200_000), checked: ago(60_000), cameras: 32 }, { number: 6, taken: ago(90_000_000), checked: ago(7_300_000), cameras: 31 },
  ];
  /** What differs between them. */
  changes: Omit<BackupChanges, 'number' | 'since'> = { added: ['yard'], removed: ['shop'], changed: [{ camera: 'gate', settings: ['url', 'password'] }], settings: ['users'] };
  /** What a scan finds, one more with each look; then it goes on until it is stopped, or ends. */
  around: FoundRecorder[] = [];
  endless = true;
  /** What was asked that changes something, in its order. */
  did: string[] = [];
  #scan: RecorderScan | null = null;

  constructor(
    monitoring: Primary[],
    /** Tells every page. */
    private readonly tell: () => void,
  ) {
    this.lists = {
      setup: { check_interval_ms: 1000, setup_backup_interval_s: 600, auto_failover_threshold: 3, edited: false }, takes_over_after_ms: 4000,
      capacity: { cameras: 64, bits_per_second: 600_000_000, bound: 'line' as const }, coordinator: null, drill_every_s: null, monitoring, failovers: [],
    };
  }

  /** Changes a primary, and tells. */
  set(role: string, part: Partial<Primary>): void {
    this.#set({ monitoring: this.lists.monitoring.map((one) => (one.role === role ? { ...one, ...part } : one)) });
  }

  /** Changes a failover that runs, and tells. */
  setRunning(role: string, part: Partial<Running>): void {
    this.#set({ failovers: this.lists.failovers.map((one) => (one.role === role ? { ...one, ...part } : one)) });
  }

  /** A failover begins. */
  begin(role: string, cause: Running['cause']): void {
    const { name, cameras } = this.#primary(role) ?? { name: role, cameras: 0 };
    const running: Running = { role, name, since: ago(0), cause, claim: 'held', normal: false, returning: false, cameras, recorded: 0, lacks: [] };
    this.reports = [{
      number: this.reports.length + 1, role, name, detected: cause === 'threshold' ? ago(40) : null, decided: ago(0), cause, ended: null, why: null, accounted: null,
      cameras: [
        { camera: 'gate', held_until: ago(4_100), recorded_from: ago(2_900), recorded_until: null, gap_ms: 1_200, missed_ms: null, left_ms: null },
        { camera: 'dock', held_until: ago(4_000), recorded_from: ago(4_500), recorded_until: null, gap_ms: 0, missed_ms: null, left_ms: null },
      ],
    }, ...this.reports];
    this.#set({ failovers: [...this.lists.failovers, running] });
    this.set(role, { waits: false });
  }

  /** A failover ends. */
  end(role: string, why: string): void {
    this.reports = this.reports.map((report) => (report.role === role && report.ended === null ? { ...report, ended: ago(0), why } : report));
    this.#set({ failovers: this.lists.failovers.filter((one) => one.role !== role) });
  }

  #set(part: Partial<Lists>): void {
    this.lists = { ...this.lists, ...part };
    this.tell();
  }

  #primary(role: string): Primary | undefined {
    return this.lists.monitoring.find((one) => one.role === role);
  }

  /** Answers; `undefined` for no such route. */
  route(method: string, parts: string[], query: URLSearchParams, body: Record<string, unknown>): Answer | undefined {
    const [head = '', id = '', tail = '', number = ''] = parts;
    if (method !== 'GET') this.did.push(`${method} ${parts.join('/')} ${JSON.stringify(body)}`.replace('{}', '').trim());
    switch (`${method} ${head}${id ? '/*' : ''}${tail ? `/${tail}` : ''}`) {
      case 'GET ':
        return { value: this.lists };
      case 'GET reports':
        return { value: { items: this.reports, next: null } };
      case 'PUT setup':
        this.#set({ setup: { ...(body as unknown as Lists['setup']), edited: true } });
        return OK;
      case 'POST primaries':
        return { value: { items: (body['items'] as RegisterItem[]).map((item) => this.#register(item)) } };
      case 'PUT primaries/*':
        this.set(id, body as Partial<Primary>);
        return OK;
      case 'DELETE primaries/*':
        if (this.#runs(id)) return RUNNING;
        this.#set({ monitoring: this.lists.monitoring.filter(({ role }) => role !== id) });
        return OK;
      case 'GET primaries/*/backups':
        return number === '' ? { value: { items: this.backups } } : this.#backup(id, Number(number), query.get('since'));
      case 'POST primaries/*/failover':
      case 'POST primaries/*/stop':
      case 'POST primaries/*/failback':
        return this.#command(id, tail);
      case 'POST primaries/*/drill':
        this.set(id, { drilling: true });
        return OK;
      case 'POST primaries/*/replace':
        return this.#replace(id, body);
      case 'POST scans':
        this.#scan = { id: 'scan1', running: true, since: ago(0), ended: null, asked: 0, all: 0, items: [], failed: [] };
        return { value: { id: 'scan1' }, status: 201 };
      case 'GET scans/*':
        return { value: this.#look() };
      case 'DELETE scans/*':
        if (this.#scan !== null) this.#scan = { ...this.#scan, running: false, ended: ago(0) };
        return OK;
      default:
        return undefined;
    }
  }

  #backup(role: string, number: number, since: string | null): Answer {
    const backup = this.backups.find((one) => one.number === number);
    if (backup === undefined) return { problem: 404, code: 'backup_unknown', detail: `there is no backup ${number} of it` };
    if (since !== null) return { value: { number, since: Number(since), ...this.changes } };
    const { taken, checked } = backup;
    return { value: {
      number, taken, checked, name: this.#primary(role)?.name, version: '0.1.0', epoch: 1, revision: 12, retention: '30 days',
      cameras: [{ camera: 'gate', settings: ['name', 'url', 'user', 'password'] }, { camera: 'dock', settings: ['onvif'] }], rtsp_users: ['guard'],
    } };
  }

  #runs(role: string): boolean {
    return this.lists.failovers.some((one) => one.role === role);
  }

  #command(role: string, command: string): Answer {
    if (command === 'failover') {
      if (this.#runs(role)) return RUNNING;
      const full = this.lists.failovers.length > 0;
      if (full) return { problem: 409, code: 'standby_full', detail: 'this standby can record no more cameras; Stop another failover first' };
      this.begin(role, 'operator');
    } else if (!this.#runs(role)) {
      return { problem: 409, code: 'failover_not_running', detail: 'no failover of it is running' };
    } else if (command === 'stop') {
      this.end(role, 'stopped');
      this.set(role, { mode: 'manual' });
    } else this.setRunning(role, { returning: true });
    return OK;
  }

  #register(item: RegisterItem): Registration {
    const base = { address: item.address, registered: false, role: null, name: null };
    const there = this.around.find(({ address }) => address === item.address);
    if (there === undefined) return { ...base, code: 'unreachable', detail: `nothing answers at ${item.address}` };
    if (!logsIn(item)) return { ...base, code: 'login_refused', detail: 'the recorder refused the login' };
    if (there.watched_by.length > 0 && item.beside !== true) {
      return { ...base, code: 'registered_elsewhere', detail: `${there.watched_by.join(', ')} watches it already` };
    }
    const host = Number(item.address.split(':')[0]?.split('.')[3]);
    this.#set({ monitoring: [...this.lists.monitoring, primary(there.role, there.name, host, { state: 'unheard', last_backup: null, cameras: 0, bits_per_second: 0 })] });
    return { ...base, registered: true, role: there.role, name: there.name, code: null, detail: null };
  }

  #replace(role: string, body: Record<string, unknown>): Answer {
    const item = body as unknown as RegisterItem;
    const there = this.around.find(({ address }) => address === item.address);
    if (!logsIn(item) || there === undefined) return { problem: 409, code: 'login_refused', detail: 'the recorder refused the login' };
    this.end(role, 'replaced');
    this.set(role, { epoch: 2, name: there.name, address: there.address, state: 'normal', since: null, detail: null, why: null });
    return OK;
  }

  #look(): RecorderScan | null {
    if (this.#scan?.running) {
      const items = this.around.slice(0, this.#scan.items.length + 1);
      const running = this.endless || items.length < this.around.length;
      this.#scan = { ...this.#scan, items, running, ended: running ? null : ago(0) };
    }
    return this.#scan;
  }
}

const RUNNING: Answer = { problem: 409, code: 'failover_running', detail: 'its failover is running; Stop or Failback ends it first' };

function logsIn(item: RegisterItem): boolean {
  return 'token' in item ? item.token === 'kwp_once' : item.password === 'recorder';
}
