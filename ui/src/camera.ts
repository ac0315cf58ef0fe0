/** What is said of a camera in words. */

import type { Camera } from './api/types';
import { sinceTime } from './format';
import { t } from './i18n';
import { parseTime } from './time';

/** A reason in words, with what the camera itself said. */
export function why(reason: string | null | undefined, detail: string | null | undefined): string {
  const known = reason && Object.hasOwn(t.reasons, reason) ? t.reasons[reason] : reason;
  // The node's sentence says the reason and then the camera's words; it is in English only.
  return detail || known || '';
}

/** A reason in a few words. */
export function reasonText(reason: string | null): string {
  if (reason === null) return '';
  return Object.hasOwn(t.reasons, reason) ? (t.reasons[reason] ?? reason) : reason;
}

/** Whether it is a camera of another recorder that is not covered at the moment; its pre-buffer may be filled all the same. */
export function isResting({ guest }: Camera): boolean {
  return guest !== null && guest.duty !== 'record';
}

/** Whether it is to be recorded here: its schedule asks for it, it waits for no alarm, and another recorder does not do it. */
export function isWanted(camera: Camera): boolean {
  return camera.connection !== 'unwanted' && camera.connection !== 'armed' && !isResting(camera);
}

/** How a camera stands that is recorded or need not be. */
export function standing(camera: Camera): string {
  if (camera.recording) return camera.alarm?.cause ? t.camera.recordingAlarm(camera.alarm.cause) : t.camera.recording;
  if (isResting(camera)) return t.camera.resting;
  return camera.connection === 'armed' ? t.camera.noAlarm : t.camera.notScheduled;
}

/** Since when and why a camera that should be recorded is not; `null` when it is, or need not be. */
export function notRecording(camera: Camera, now: number): string | null {
  if (camera.recording || !isWanted(camera)) return null;
  const held = camera.durable_until === null ? null : parseTime(camera.durable_until);
  const since = held ?? parseTime(camera.since);
  const words = why(camera.reason, camera.detail) || t.connections[camera.connection];
  return since === null ? words : t.camera.notRecordingWhy(sinceTime(since, now), words);
}

/** Whether somebody has to look after it. */
export function isProblem(camera: Camera): boolean {
  return !camera.recording && isWanted(camera);
}
