/** Making settings of a camera from what a person chose or a scan found. */

import type { CameraConfig, CameraDraft, ScanItem } from './api/types';

/** Longest id that a node takes. */
const ID_CHARS_MAX = 31;

/** An id for a camera of this name that none of `taken` has: small letters, digits and hyphens, a letter or digit first. */
export function idFor(name: string, taken: ReadonlySet<string>): string {
  const plain = name.normalize('NFKD').toLowerCase().replace(/[\u0300-\u036f]/g, '').replace(/[^a-z0-9]+/g, '-');
  const stem = plain.replace(/^-+|-+$/g, '').slice(0, ID_CHARS_MAX - 4).replace(/-+$/, '') || 'camera';
  if (!taken.has(stem)) return stem;
  for (let n = 2; ; n += 1) if (!taken.has(`${stem}-${n}`)) return `${stem}-${n}`;
}

/** What tells found devices apart: several may have one host, as channels of an encoder or behind a router. */
export function keyOf(item: ScanItem): string {
  return item.onvif ?? item.address;
}

/** What a found device is called: what it calls itself, else its model, else its address. */
export function nameOf(item: ScanItem): string {
  return item.name.trim() || item.model.trim() || item.address;
}

/** Settings for a found device; a login of two empty texts is none. */
export function configFor(item: ScanItem, login: { user: string; password: string }, taken: ReadonlySet<string>): CameraDraft & { id: string } {
  const name = nameOf(item);
  const config: CameraDraft & { id: string } = { id: idFor(name, taken), name, onvif: item.onvif };
  if (login.user !== '') {
    config.user = login.user;
    config.password = login.password;
  }
  return config;
}

/** Addresses and ranges as a person writes them: with spaces, commas or line ends between. */
export function addressesOf(text: string): string[] {
  return text.split(/[\s,;]+/).filter((part) => part !== '');
}

/** Settings without what is empty or read only, as a node takes them. */
export function forNode(config: CameraDraft & Partial<Pick<CameraConfig, 'has_password' | 'editable' | 'revision'>>): CameraDraft {
  const { has_password: _, editable: __, revision: ___, ...rest } = config;
  const kept = Object.entries(rest).filter(([, value]) => value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0));
  return Object.fromEntries(kept) as CameraDraft;
}
