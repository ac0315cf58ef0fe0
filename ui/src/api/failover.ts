/**
 * What travels between console and standby, and the questions about it.
 *
 * A node whose standby could not be started has none of these routes and answers 404.
 */

import { all, json } from './client';

/** The setup of a standby, as it is set. */
export interface SetupBody {
  check_interval_ms: number;
  setup_backup_interval_s: number;
  auto_failover_threshold: number;
}

/** What is known of a backup of a primary's configuration. */
export interface Backup {
  number: number;
  taken: string;
  checked: string;
  cameras: number;
}

/** The last drill of a primary: its failover tried out, without one being needed. */
export interface Drill {
  at: string;
  passed: boolean;
  detail: string | null;
}

/** Who starts a failover: the standby after the threshold, or an operator only. */
export type Mode = 'auto' | 'manual';

/** A recorder that is watched. */
export interface Primary {
  role: string;
  name: string;
  address: string;
  mac: string | null;
  mode: Mode;
  priority: number;
  epoch: number;
  state: 'unheard' | 'normal' | 'missed' | 'failed' | 'records_nothing';
  since: string | null;
  missed: number;
  why: 'late' | 'disconnected' | 'unusable' | 'superseded' | null;
  detail: string | null;
  version: string;
  version_differs: boolean;
  waits: boolean;
  left_to_other: boolean;
  cameras: number;
  bits_per_second: number;
  missing: string[];
  covered_alone: string[];
  last_backup: Backup | null;
  backup_problem: string | null;
  prebuffer: boolean;
  prebuffer_bytes: number;
  /** Its last drill; `null` before the first, left out by a standby that makes none. */
  tested?: Drill | null;
}

/** A failover that runs. */
export interface Running {
  role: string;
  name: string;
  since: string;
  cause: 'threshold' | 'operator' | 'restart';
  claim: 'asked' | 'held' | 'unconfirmed';
  normal: boolean;
  returning: boolean;
  cameras: number;
  recorded: number;
}

/** The standby: its setup, the recorders that it watches, and the failovers that run. */
export interface Lists {
  setup: SetupBody & { edited: boolean };
  takes_over_after_ms: number;
  capacity: { cameras: number; bits_per_second: number };
  monitoring: Primary[];
  failovers: Running[];
}

/** What is to be changed of a primary; what is left out stays. */
export type PrimaryBody = Partial<Pick<Primary, 'mode' | 'priority' | 'prebuffer'>>;

/** A login at a recorder: of an administrator, or with a token that works once. */
export type Login = { user: string; password: string } | { token: string };

/** A recorder that is to be watched, or to replace one. */
export type RegisterItem = { address: string; beside?: boolean } & Login;

/** What became of a recorder that was to be watched. */
export interface Registration {
  address: string;
  registered: boolean;
  role: string | null;
  name: string | null;
  code: string | null;
  detail: string | null;
}

/** What happened to a camera in a failover; times are those of the camera. */
export interface ReportCamera {
  camera: string;
  held_until: string | null;
  recorded_from: string | null;
  recorded_until: string | null;
  gap_ms: number | null;
}

/** What happened in a failover. */
export interface Report {
  number: number;
  role: string;
  name: string;
  detected: string | null;
  decided: string;
  cause: string;
  ended: string | null;
  why: string | null;
  cameras: ReportCamera[];
}

/** A recorder that a scan found. What it says of itself is not checked. */
export interface FoundRecorder {
  address: string;
  name: string;
  version: string;
  mac: string | null;
  role: string;
  standby: boolean;
  watched_by: string[];
  /** It is on the Monitoring list here. */
  registered: boolean;
  /** Its version is not the standby's: it is not registered. */
  version_differs: boolean;
}

/** A search for recorders. */
export interface RecorderScan {
  id: string;
  running: boolean;
  since: string;
  ended: string | null;
  items: FoundRecorder[];
  /** What could not be searched, and why. */
  failed: string[];
}

const ROOT = 'failover';

/** Every question about failovers. */
export const failoverApi = {
  setUp: (setup: SetupBody) => json<void>('PUT', [ROOT, 'setup'], {}, setup),
  register: async (items: RegisterItem[]) =>
    (await json<{ items: Registration[] }>('POST', [ROOT, 'primaries'], {}, { items })).items,
  change: (role: string, change: PrimaryBody) => json<void>('PUT', [ROOT, 'primaries', role], {}, change),
  remove: (role: string) => json<void>('DELETE', [ROOT, 'primaries', role]),
  failOver: (role: string) => json<void>('POST', [ROOT, 'primaries', role, 'failover']),
  stop: (role: string) => json<void>('POST', [ROOT, 'primaries', role, 'stop']),
  failBack: (role: string) => json<void>('POST', [ROOT, 'primaries', role, 'failback']),
  replace: (role: string, by: RegisterItem) => json<void>('POST', [ROOT, 'primaries', role, 'replace'], {}, by),
  backups: async (role: string) => (await json<{ items: Backup[] }>('GET', [ROOT, 'primaries', role, 'backups'])).items,
  reports: (signal?: AbortSignal) => all<Report>([ROOT, 'reports'], {}, signal, 2),
  startScan: (addresses: string[]) =>
    json<{ id: string }>('POST', [ROOT, 'scans'], {}, addresses.length > 0 ? { addresses } : {}),
  scan: (id: string) => json<RecorderScan>('GET', [ROOT, 'scans', id]),
  stopScan: (id: string) => json<void>('DELETE', [ROOT, 'scans', id]),
};
