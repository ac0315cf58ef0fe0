/**
 * What virtual cameras say of their frames, read where nobody could make it up: from the pixels that a page shows, and from
 * the bytes of an export. `docs/ref/lab.md` describes both.
 */

import { spawnSync } from 'node:child_process';
import type { Page } from 'playwright-core';

/** Numbers of cameras are this far apart; a picture shows what is left of its number. */
const NUMBERS_PER_CAMERA = 10_000_000_000n;

/** The user data of a frame begins with this. */
const UUID = Buffer.from('6b771af30c5e4d92a841d72e9364bf08', 'hex');

/**
 * Reads the bar in each picture that `selector` finds: two rows of twenty blocks of 16 pixels, light for one. Each row is
 * light, dark, sixteen bits, their parity, and its complement. It runs in the page.
 */
function readBars(selector: string): (number | null)[] {
  return [...document.querySelectorAll<HTMLVideoElement>(selector)].map((video) => {
    if (video.videoWidth < 320 || video.readyState < 2) return null;
    const canvas = document.createElement('canvas');
    canvas.width = 320;
    canvas.height = 32;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    if (context === null) return null;
    // Not scaled: a block is a block of the picture as it was sent.
    context.drawImage(video, 0, 0, 320, 32, 0, 0, 320, 32);
    const { data } = context.getImageData(0, 0, 320, 32);
    let counter = 0;
    for (let row = 0; row < 2; row += 1) {
      const bits: number[] = [];
      for (let column = 0; column < 20; column += 1) {
        let sum = 0;
        for (let y = 4; y < 12; y += 1) {
          for (let x = 4; x < 12; x += 1) {
            const at = 4 * ((row * 16 + y) * 320 + column * 16 + x);
            sum += 0.299 * (data[at] ?? 0) + 0.587 * (data[at + 1] ?? 0) + 0.114 * (data[at + 2] ?? 0);
          }
        }
        const mean = sum / 64;
        if (Math.abs(mean - 128) < 45) return null;
        bits.push(mean > 128 ? 1 : 0);
      }
      const word = bits.slice(2, 18);
      const parity = word.reduce((odd, bit) => odd ^ bit, 0);
      if (bits[0] !== 1 || bits[1] !== 0 || bits[18] !== parity || bits[19] !== 1 - parity) return null;
      counter = word.reduce((whole, bit) => whole * 2 + bit, counter);
    }
    return counter;
  });
}

/** The counters in the pictures of the page, in their order; `null` where none is legible. */
export function counters(page: Page, selector = 'video'): Promise<(number | null)[]> {
  return page.evaluate(readBars, selector);
}

/** Waits until the only picture of the page shows a counter that `fits`, and returns it. A number fits itself. */
export async function counter(page: Page, fits: number | ((counter: number) => boolean) = () => true): Promise<number> {
  const end = Date.now() + 10_000;
  let last: (number | null)[] = [];
  while (Date.now() < end) {
    last = await counters(page);
    const [only] = last;
    if (last.length === 1 && only !== null && only !== undefined && (typeof fits === 'number' ? only === fits : fits(only))) return only;
    await page.waitForTimeout(20);
  }
  throw new Error(`the picture shows ${JSON.stringify(last)}${typeof fits === 'number' ? `, not ${fits}` : ''}`);
}

/** How long it takes until a picture with a counter is there after `click` was called in the page, in milliseconds. */
export async function firstPicture(page: Page, click: () => Promise<void>): Promise<number> {
  const before = Date.now();
  await click();
  await page.waitForFunction(() => document.querySelectorAll('article').length === 1);
  await counter(page);
  return Date.now() - before;
}

/** What the pictures of a film show, one after the other, as ffmpeg decodes them, which heeds what the film hides. */
export function shownIn(film: string): (number | null)[] {
  // The bar alone, of which the middle of each block is enough.
  const made = spawnSync('ffmpeg', ['-v', 'error', '-i', film, '-vf', 'crop=320:32:0:0', '-fps_mode', 'passthrough', '-f', 'rawvideo', '-pix_fmt', 'gray', '-'], { maxBuffer: 1 << 30 });
  if (made.status !== 0 || made.stderr.length > 0) throw new Error(`ffmpeg: ${made.stderr.toString()}`);
  const pictures: (number | null)[] = [];
  for (let at = 0; at < made.stdout.length; at += 320 * 32) {
    const light = (row: number, column: number): number => ((made.stdout[at + (row * 16 + 8) * 320 + column * 16 + 8] ?? 0) > 126 ? 1 : 0);
    let counter: number | null = 0;
    for (let row = 0; row < 2; row += 1) {
      const bits = Array.from({ length: 20 }, (_, column) => light(row, column));
      const parity = bits.slice(2, 18).reduce((odd, bit) => odd ^ bit, 0);
      if (bits[0] !== 1 || bits[1] !== 0 || bits[18] !== parity || bits[19] !== 1 - parity) counter = null;
      else if (counter !== null) counter = bits.slice(2, 18).reduce((whole, bit) => whole * 2 + bit, counter);
    }
    pictures.push(counter);
  }
  return pictures;
}

/** What the picture of a frame with this number shows. */
export function shownBy(number: bigint): number {
  return Number((number % NUMBERS_PER_CAMERA) & 0xffff_ffffn);
}

/** The numbers of the frames in an MP4 file, in their order in it. */
export function numbersIn(file: Buffer): bigint[] {
  const numbers: bigint[] = [];
  for (let at = file.indexOf(UUID); at >= 0; at = file.indexOf(UUID, at + UUID.length)) {
    const bytes: number[] = [];
    let zeros = 0;
    // Emulation prevention: a three behind two zeros is none of the message's (ITU-T H.264 7.4.1).
    for (const byte of file.subarray(at + UUID.length, at + UUID.length + 16)) {
      if (zeros >= 2 && byte === 3) {
        zeros = 0;
        continue;
      }
      zeros = byte === 0 ? zeros + 1 : 0;
      bytes.push(byte);
    }
    numbers.push(Buffer.from(bytes.slice(0, 8)).readBigUInt64BE());
  }
  return numbers;
}
