/**
 * What travels between console and standby, and the questions about it.
 *
 * A node whose standby could not be started has none of these routes and answers 404.
 */

import { all, json } from './client';
import type { components } from './schema';

type Schemas = components['schemas'];

/** The setup of a standby, as it is set. */
export type SetupBody = Schemas['FailoverSetupBody'];
/** What is known of a backup of a primary's configuration. */
export type Backup = Schemas['Backup'];
/** What is in a backup, without its secrets. */
export type BackupContents = Schemas['BackupContents'];
/** What differs between two backups. */
export type BackupChanges = Schemas['BackupChanges'];
/** A recorder that is watched. */
export type Primary = Schemas['Primary'];
/** A failover that runs. */
export type Running = Schemas['RunningFailover'];
/** The standby: its setup, the recorders that it watches, and the failovers that run. */
export type Lists = Schemas['Failover'];
/** What is to be changed of a primary; what is left out stays. */
export type PrimaryBody = Partial<Pick<Primary, 'mode' | 'priority' | 'prebuffer'>>;
/** A login at a recorder: of an administrator, or with a token that works once. */
export type Login = { user: string; password: string } | { token: string };
/** A recorder that is to be watched, or to replace one. */
export type RegisterItem = { address: string; beside?: boolean; key?: string } & Login;
/** What became of a recorder that was to be watched. */
export type Registration = Schemas['Registration'];
/** What happened in a failover. */
export type Report = Schemas['FailoverReport'];

/** A recorder that a scan found. What it says of itself is not checked. */
export type FoundRecorder = Schemas['FoundRecorder'];
/** A search for recorders. */
export type RecorderScan = Schemas['RecorderScan'];

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
  drill: (role: string) => json<void>('POST', [ROOT, 'primaries', role, 'drill']),
  replace: (role: string, by: RegisterItem & { backup?: number }) => json<Schemas['Replaced']>('POST', [ROOT, 'primaries', role, 'replace'], {}, by),
  backups: async (role: string) => (await json<{ items: Backup[] }>('GET', [ROOT, 'primaries', role, 'backups'])).items,
  backup: (role: string, number: number) => json<BackupContents>('GET', [ROOT, 'primaries', role, 'backups', String(number)]),
  backupChanges: (role: string, since: number, number: number) =>
    json<BackupChanges>('GET', [ROOT, 'primaries', role, 'backups', String(number), 'changes'], { since }),
  reports: (signal?: AbortSignal) => all<Report>([ROOT, 'reports'], {}, signal, 2),
  startScan: (addresses: string[]) =>
    json<Schemas['RecorderScanBegun']>('POST', [ROOT, 'scans'], {}, addresses.length > 0 ? { addresses } : {}),
  scan: (id: string) => json<RecorderScan>('GET', [ROOT, 'scans', id]),
  stopScan: (id: string) => json<void>('DELETE', [ROOT, 'scans', id]),
};
