/**
 * What travels between console and node, as `docs/ref/api.md` describes it.
 *
 * Times are texts here (RFC 3339) and become numbers where they are used. Fields that a later node adds are ignored.
 */

/** What a user may do; each may all that the one before it may. */
export type Role = 'viewer' | 'operator' | 'supervisor' | 'administrator';

/** All roles, the least first. */
export const ROLES: readonly Role[] = ['viewer', 'operator', 'supervisor', 'administrator'];

/** Rights: everywhere, and beyond that at single cameras. */
export interface Grants {
  /** The role everywhere; `null` when there is none. */
  role: Role | null;
  /** Roles by camera id. */
  cameras?: Record<string, Role> | null;
}

/** Who is logged in. */
export interface Session extends Grants {
  user: string;
}

/** A problem document (RFC 9457). */
export interface ProblemDocument {
  title?: string;
  status?: number;
  code?: string;
  detail?: string;
  /** What is wrong with single fields of the body. */
  errors?: { field: string; detail: string }[];
}

/** A list; `next` asks for the rest. */
export interface Page<T> {
  items: T[];
  next: string | null;
}

/** Which of a camera's streams. */
export type StreamName = 'main' | 'sub';

/** What is said of a stream, and of a camera by its main stream. */
export interface StreamState {
  recording: boolean;
  durable_until: string | null;
  connection: 'unwanted' | 'waiting' | 'connecting' | 'connected' | 'recording';
  since: string;
  reason: string | null;
  detail: string | null;
  frames: number;
  lost_packets: number;
}

/** A stream of a camera. */
export interface Stream extends StreamState {
  stream: StreamName;
  tracks: string[];
  left_out?: string[];
  certificate?: string | null;
}

/** A camera as the node sees it. */
export interface Camera extends StreamState {
  id: string;
  name: string;
  streams: Stream[];
  clock_offset_ms: number | null;
  /** Whether the console may change it; the others stand in the configuration file. */
  editable?: boolean;
}

/** A disk of the node. */
export interface Disk {
  path: string;
  state: string;
  detail: string | null;
  slow: boolean;
  size_bytes: number;
  used_bytes: number;
}

/** The node. */
export interface NodeStatus {
  name: string;
  version: string;
  started: string;
  now: string;
  cameras: number;
  recording: number;
  disks: Disk[];
}

/** All that the status socket keeps up to date. */
export interface Snapshot {
  node: NodeStatus;
  cameras: Record<string, Camera>;
  /** Exports of cameras at all of which one is operator. */
  exports: Record<string, ExportJob>;
  /** The last search for cameras, for administrators. */
  scans: Record<string, Scan>;
}

/** What the status socket sends; `seq` grows by one from message to message. */
export type StatusMessage =
  | { seq: number; type: 'snapshot'; value: Snapshot }
  | { seq: number; type: 'change'; path: string[]; value?: unknown }
  | { seq: number; type: 'alive'; now: string };

/** A stretch of coverage. */
export interface CoverageItem {
  from: string;
  to: string;
  state: 'held' | 'gap' | 'expired' | 'unscheduled' | 'unknown';
  origin: 'primary' | 'standby' | 'edge' | null;
  backfill: 'pending' | 'running' | 'done' | null;
  reason: string | null;
  detail: string | null;
  /** The share that is held, 0 to 1; in overviews only. */
  held?: number;
}

/** A picture that can be stepped to. */
export interface FrameItem {
  label: string;
  key: boolean;
  bytes: number;
}

/** What an export is made of. */
export interface ExportOrder {
  cameras: string[];
  from: string;
  to: string;
  stream: StreamName;
  audio: boolean;
}

/** An export that is being made or can be fetched. */
export interface ExportJob {
  id: string;
  state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
  /** 0 to 1. */
  progress: number;
  bytes_done: number;
  bytes_total: number;
  seconds_left: number | null;
  cameras: string[];
  from: string;
  to: string;
  by: string;
  created: string;
  expires: string | null;
  file: string | null;
  error: string | null;
}

/** A camera's settings, with the keys and texts of `[[camera]]` in the configuration file. */
export interface CameraConfig {
  id: string;
  name?: string | null;
  url?: string | null;
  onvif?: string | null;
  sub_url?: string | null;
  sub?: boolean | null;
  events?: boolean | null;
  user?: string | null;
  /** Written only: left out it stays as it is, `null` removes it. */
  password?: string | null;
  /** Read only. */
  has_password?: boolean;
  transport?: 'auto' | 'tcp' | 'udp' | null;
  certificate?: string | null;
  audio?: boolean | null;
  metadata?: boolean | null;
  retention?: string | null;
  schedule?: string[] | null;
  editable?: boolean;
}

/** What a camera answered to a test. */
export interface CameraTest {
  reachable: boolean;
  streams: { stream: StreamName; tracks: string[] }[];
  certificate: string | null;
  /** `data:image/jpeg;base64,...` */
  picture: string | null;
}

/** A device that a scan found. */
export interface ScanItem {
  address: string;
  onvif: string | null;
  name: string | null;
  model: string | null;
  added: boolean;
}

/** A search for cameras. */
export interface Scan {
  id: string;
  running: boolean;
  since: string;
  /** What could not be searched, and why. */
  failed: string[];
  /** Cameras that answered and have no address that can be configured. */
  unreachable: { address: string; interface: string | null }[];
  items: ScanItem[];
}

/** A user of the node. */
export interface User extends Grants {
  name: string;
  created?: string | null;
}

/** Rights as they are set: both parts have to be said, so that nothing is lowered by being forgotten. */
export interface SetGrants {
  role: Role | null;
  cameras: Record<string, Role>;
}

/** A token for programs; `token` is told once, when it is made. */
export interface Token extends Grants {
  id: string;
  name: string;
  user: string;
  created: string;
  expires: string | null;
  token?: string;
}

/** A login that stands. */
export interface SessionItem {
  id: string;
  user: string;
  /** The address that it came from. */
  from: string;
  began: string;
  used: string;
  /** Whether it is the one that asks. */
  current: boolean;
}

/** Texts of the live socket. */
export type LiveMessage =
  | { type: 'init'; mime: string; stream: StreamName; codec: string; width: number; height: number; start: string }
  | { type: 'skipped'; from: string; to: string; frames: number }
  | { type: 'waiting'; since: string; reason: string | null; detail: string | null }
  | { type: 'unplayable'; codec: string; detail: string | null }
  | { type: 'time'; label: string; sent: string };
