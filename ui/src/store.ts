/**
 * What the console knows of the node, kept from one snapshot and the changes that follow it.
 *
 * A pure function: a message and what was known give what is known. Messages are numbered; one that is missing means
 * that the account no longer holds, and the only honest answer is to ask for a new snapshot.
 */

import type { Snapshot, StatusMessage } from './api/types';

/** What is known, and the number of the last message. */
export interface Known {
  seq: number;
  value: Snapshot;
}

/** What came of a message. */
export type Outcome =
  | { kind: 'known'; known: Known }
  /** A message is missing or makes no sense: connect anew. */
  | { kind: 'lost'; why: string };

/** Deepest change that is taken: the snapshot has nothing deeper than a field of a stream of a camera. */
const PATH_PARTS_MAX = 8;

/** Takes in one message. */
export function reduce(known: Known | null, message: StatusMessage): Outcome {
  if (message.type === 'snapshot') {
    if (!isObject(message.value)) return { kind: 'lost', why: 'a snapshot without a value' };
    const { cameras = {}, exports = {}, scans = {} } = message.value as Partial<Snapshot>;
    const value = { ...message.value, cameras, exports, scans };
    return { kind: 'known', known: { seq: message.seq, value } };
  }
  if (known === null) return { kind: 'lost', why: 'a change before the snapshot' };
  if (message.seq !== known.seq + 1) {
    return { kind: 'lost', why: `message ${known.seq + 1} is missing, ${message.seq} came` };
  }
  switch (message.type) {
    case 'alive': {
      const node = { ...known.value.node, now: message.now };
      return { kind: 'known', known: { seq: message.seq, value: { ...known.value, node } } };
    }
    case 'change': {
      const { path } = message;
      if (!Array.isArray(path) || path.length === 0 || path.length > PATH_PARTS_MAX) {
        return { kind: 'lost', why: 'a change without a place' };
      }
      const value = replace(known.value, path, message.value) as Snapshot;
      return { kind: 'known', known: { seq: message.seq, value } };
    }
    default:
      // A kind of message that a later node sends: its number counts, its content is not for us.
      return { kind: 'known', known: { ...known, seq: (message as { seq: number }).seq } };
  }
}

/** A copy of `target` in which the place `path` holds `value`; without a value it is taken out. */
function replace(target: unknown, path: readonly string[], value: unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  const object = isObject(target) ? target : {};
  const inner = rest.length === 0 ? value : replace(Object.hasOwn(object, first) ? object[first] : undefined, rest, value);
  const copy: Record<string, unknown> = { ...object };
  if (inner === undefined || inner === null) delete copy[first];
  else Object.defineProperty(copy, first, { value: inner, enumerable: true, configurable: true, writable: true });
  return copy;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
