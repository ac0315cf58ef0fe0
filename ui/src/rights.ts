/**
 * What a session may do, to show as usable only what the node would not refuse.
 *
 * The node decides; a console that is wrong here shows a button too many and the node's words when it is pressed.
 */

import { type Grants, ROLES, type Role } from './api/types';

const rank = (role: Role | null | undefined): number => (role ? ROLES.indexOf(role) : -1);

/** Whether the role everywhere is at least `role`. */
export function may(grants: Pick<Grants, 'role'>, role: Role): boolean {
  return rank(grants.role) >= rank(role);
}

/** Whether the right at a camera, everywhere or there, is at least `role`. */
export function mayAt(grants: Grants, camera: string, role: Role): boolean {
  const there = grants.cameras && Object.hasOwn(grants.cameras, camera) ? grants.cameras[camera] : null;
  return Math.max(rank(grants.role), rank(there)) >= rank(role);
}
