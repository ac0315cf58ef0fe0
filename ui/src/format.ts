/** Times, lengths and sizes as people read them, in the chosen language and the zone of the browser. */

import { locale, t } from './i18n';

const clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(locale, { year: 'numeric', month: 'short', day: '2-digit' });

/** The zone in which times are shown. */
export const zone = clock.resolvedOptions().timeZone;

/** The time of day, with seconds. */
export function timeOfDay(ms: number): string {
  return clock.format(ms);
}

/** Day and time of day. */
export function dayAndTime(ms: number): string {
  return `${day.format(ms)} ${clock.format(ms)}`;
}

/** The day. */
export function dayOnly(ms: number): string {
  return day.format(ms);
}

/** The time of day when it is today, else with the day. */
export function sinceTime(ms: number, now: number): string {
  return day.format(ms) === day.format(now) ? timeOfDay(ms) : dayAndTime(ms);
}

/** The time of day with thousandths, for single pictures. */
export function exactTime(ms: number): string {
  const thousandths = Math.floor(((ms % 1000) + 1000) % 1000);
  return `${dayAndTime(ms)}.${String(thousandths).padStart(3, '0')}`;
}

/** A length of time in the two units that matter. */
export function length(ms: number): string {
  const whole = Math.max(0, ms);
  if (whole < 1000) return t.lengths.ms(Math.round(whole));
  if (whole < 60_000) return t.lengths.s((whole / 1000).toFixed(whole < 10_000 ? 1 : 0));
  const seconds = Math.floor(whole / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes < 60) return t.lengths.minutes(minutes, seconds % 60);
  if (hours < 24) return t.lengths.hours(hours, minutes % 60);
  return t.lengths.days(Math.floor(hours / 24), hours % 24);
}

/** A length in its one unit, where it is a whole number of it. */
export function plainLength(ms: number): string {
  const minute = 60_000;
  const hour = 60 * minute;
  if (ms < 1000) return length(ms);
  if (ms % (24 * hour) === 0) return t.lengths.wholeDays(ms / (24 * hour));
  if (ms % hour === 0) return t.lengths.wholeHours(ms / hour);
  if (ms % minute === 0) return t.lengths.wholeMinutes(ms / minute);
  return ms % 1000 === 0 && ms < minute ? t.lengths.s(String(ms / 1000)) : length(ms);
}

/** How old something is: tenths of a second, so that the width of the text does not change with each look. */
export function age(ms: number): string {
  return ms < 10_000 ? t.lengths.s((ms / 1000).toFixed(1)) : length(ms);
}

/** A number of bytes in powers of 1000, as disks are sold. */
export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = Math.max(0, n);
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(unit > 0 && value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** A rate in powers of 1000, as networks are sold. */
export function rate(bits_per_second: number): string {
  return `${bytes(bits_per_second).replace(/B$/, 'bit')}/s`;
}

/** A codec's name for people, from a name of the API or the codecs part of a MIME type. */
export function codecName(codec: string): string {
  const known: Record<string, string> = { h264: 'H.264', avc1: 'H.264', h265: 'H.265', hvc1: 'H.265', hev1: 'H.265', jpeg: 'Motion JPEG' };
  const stem = codec.toLowerCase().split('.')[0] ?? '';
  return known[stem] ?? codec;
}
