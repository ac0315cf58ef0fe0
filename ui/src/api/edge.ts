/**
 * What travels between console and node about edge recording: what a node sends to the storage behind the network, and the edge
 * nodes that send to a recorder.
 */

import { json } from './client';
import type { components } from './schema';

type Schemas = components['schemas'];

/** How the relay of a node stands. */
export type Edge = Schemas['Edge'];
/** A stream of a camera on its way. */
export type EdgeLine = Schemas['EdgeLine'];
/** A local storage and what can be done with it. */
export type EdgeStorage = Schemas['EdgeStorage'];
/** Something that is wrong. */
export type EdgeAlarm = Schemas['EdgeAlarm'];
/** The recorder that footage is sent to. */
export type EdgeRecorder = Schemas['EdgeRecorder'];
/** A recorder that is to be sent to, and a login of it. */
export type EdgeRegister = Schemas['EdgeRegister'];
/** An edge node that sends to this recorder. */
export type EdgeNode = Schemas['EdgeNode'];
/** How fast the footage of a camera may leave; `confirm` says that it is meant although it never catches up. */
export type EdgeLimit = Required<Schemas['EdgeLimit']>;

/** Every question about edge recording. */
export const edgeApi = {
  register: (recorder: EdgeRegister) => json<Schemas['EdgeRegistered']>('POST', ['edge', 'recorder'], {}, recorder),
  deregister: () => json<void>('DELETE', ['edge', 'recorder']),
  limit: (camera: string, limit: EdgeLimit) => json<void>('PUT', ['edge', 'lines', camera], {}, limit),
  /** Goes back to what the configuration says. */
  unlimit: (camera: string) => json<void>('DELETE', ['edge', 'lines', camera]),
  nodes: async () => (await json<{ items: EdgeNode[] }>('GET', ['edge-nodes'])).items,
  token: () => json<Schemas['NodeToken']>('POST', ['edge-nodes', 'tokens']),
  remove: (key: string) => json<void>('DELETE', ['edge-nodes', key]),
};
