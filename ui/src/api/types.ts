/**
 * What travels between console and node: the names that the console has for the schemas of the API (`schema.d.ts`, which is
 * generated from the node's own description and compared with it by the tests), and the messages of sockets, of which the
 * description says less.
 *
 * Times are texts here (RFC 3339) and become numbers where they are used. Fields that a later node adds are ignored.
 */

import type { components } from './schema';

type Schemas = components['schemas'];

/** What a user may do; each may all that the one before it may. */
export type Role = Schemas['Role'];

/** All roles, the least first. */
export const ROLES: readonly Role[] = ['viewer', 'operator', 'supervisor', 'administrator'];

/** Rights: everywhere, and beyond that at single cameras; those of a token may leave the cameras to its user. */
export type Grants = Pick<Schemas['Token'], 'role' | 'cameras'>;

/** Who is logged in. */
export type Session = Schemas['Grants'] & Pick<Schemas['Identity'], 'user'>;

/** A problem document (RFC 9457); a proxy in between may answer with less. */
export type ProblemDocument = Partial<Schemas['Problem']>;

/** A list; `next` asks for the rest. */
export interface Page<T> {
  items: T[];
  next: string | null;
}

/** Which of a camera's streams. */
export type StreamName = Schemas['StreamName'];
/** A camera as the node sees it. */
export type Camera = Schemas['Camera'];
/** The node and its disks. */
export type NodeStatus = Schemas['Status'];

/** All that the status socket keeps up to date; failovers only where a standby runs, for those who have a role everywhere. */
export type Snapshot = Schemas['StatusSnapshot'];

/** What the status socket sends; `seq` grows by one from message to message. */
export type StatusMessage =
  | { seq: number; type: 'snapshot'; value: Snapshot }
  | { seq: number; type: 'change'; path: string[]; value?: unknown }
  | { seq: number; type: 'alive'; now: string };

/** A stretch of coverage. */
export type CoverageItem = Schemas['CoverageItem'];
/** A picture that can be stepped to. */
export type FrameItem = Schemas['Frame'];
/** What an export is made of. */
export type ExportOrder = Schemas['ExportBody'];
/** An export that is being made or can be fetched. */
export type ExportJob = Schemas['Export'];
/** A camera's settings, with the keys and texts of `[[camera]]` in the configuration file. */
export type CameraConfig = Schemas['CameraSettings'];
/** The same as they are sent. */
export type CameraDraft = Schemas['CameraBody'];
/** What a camera answered to a test. */
export type CameraTest = Schemas['Tried'];
/** Footage that is missing here and comes from elsewhere. */
export type Replenishment = Schemas['Replenishment'];
/** A stream of which something is missing. */
export type Replenished = Schemas['ReplenishedStream'];
/** What is being fetched of it. */
export type ReplenishRunning = Schemas['ReplenishRunning'];
/** A device that a scan found. */
export type ScanItem = Schemas['FoundCamera'];
/** A search for cameras. */
export type Scan = Schemas['Scan'];
/** A user of the node. */
export type User = Schemas['User'];
/** Rights as they are set: both parts have to be said, so that nothing is lowered by being forgotten. */
export type SetGrants = Pick<Schemas['Grants'], 'role' | 'cameras'>;
/** A token for programs. */
export type Token = Schemas['Token'];
/** A token as it is told once, when it is made. */
export type NewToken = Schemas['TokenCreated'];
/** A login that stands. */
export type SessionItem = Schemas['Session'];

/** Texts of the live socket. */
export type LiveMessage =
  | { type: 'init'; mime: string; stream: StreamName; codec: string; width: number; height: number; start: string }
  | { type: 'skipped'; from: string; to: string; frames: number }
  | { type: 'waiting'; since: string; reason: string | null; detail: string | null }
  | { type: 'unplayable'; codec: string; detail: string | null }
  | { type: 'time'; label: string; sent: string }
  | { type: 'alive'; now: string };
