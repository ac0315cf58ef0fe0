/**
 * Times of the API and of people.
 *
 * Inside the console a time is a number: milliseconds since 1970 in UTC, with a fraction. A double keeps such a number
 * to a quarter of a microsecond, and labels are whole microseconds, so nothing is lost between text and number.
 */

const PATTERN = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/;

/** Reads a time of RFC 3339, to the microsecond; `null` when the text is none. */
export function parseTime(text: string): number | null {
  const match = PATTERN.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second, fraction, zone] = match;
  const whole = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}${zone?.toUpperCase()}`);
  if (Number.isNaN(whole)) return null;
  const micros = Number((fraction ?? '').slice(0, 6).padEnd(6, '0'));
  return whole + micros / 1000;
}

/** Writes a time as the API takes it: UTC with six digits of fraction. */
export function formatTime(ms: number): string {
  const micros = Math.round(ms * 1000);
  const seconds = Math.floor(micros / 1_000_000);
  const fraction = String(micros - seconds * 1_000_000).padStart(6, '0');
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}

/** What an `<input type="datetime-local" step="1">` shows for a time, in the zone of the browser. */
export function toLocalInput(ms: number): string {
  const date = new Date(ms);
  const two = (number: number): string => String(number).padStart(2, '0');
  const day = `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** The time that somebody entered there; `null` when it is empty. */
export function fromLocalInput(text: string): number | null {
  const ms = new Date(text).getTime();
  return Number.isNaN(ms) ? null : ms;
}
