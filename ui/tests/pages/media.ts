/** Footage for the fake node: H.264 in fragments of a second, made once by ffmpeg, moved to any label by its `tfdt`. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Seconds of footage; it is repeated. */
export const LOOP_S = 20;
export const FPS = 25;

/** A file in parts. */
export interface Fragments {
  init: Buffer;
  mime: string;
  /** One for each second. */
  seconds: Buffer[];
  timescale: number;
}

/** Footage with all pictures, or with one key frame a second. */
export function fragments(kind: 'all' | 'key'): Fragments {
  const folder = join(tmpdir(), 'keepwatch-console-fake');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${kind}.mp4`);
  if (!existsSync(path)) {
    const rate = kind === 'all' ? FPS : 1;
    const made = spawnSync('ffmpeg', [
      '-v', 'error', '-y', '-f', 'lavfi', '-i', `testsrc2=s=640x360:r=${FPS}:d=${LOOP_S}`, '-vf', `fps=${rate}:round=down`,
      '-c:v', 'libx264', '-profile:v', 'main', '-preset', 'veryfast', '-bf', '0', '-g', String(rate), '-sc_threshold', '0', '-pix_fmt', 'yuv420p',
      '-video_track_timescale', '90000', '-movflags', '+frag_keyframe+empty_moov+default_base_moof', '-an', path,
    ], { encoding: 'utf8' });
    if (made.status !== 0) throw new Error(`ffmpeg: ${made.stderr}`);
  }
  const file = readFileSync(path);
  const boxes = boxesOf(file);
  const moof = boxes.findIndex((box) => box.type === 'moof');
  const init = file.subarray(0, boxes[moof]?.start);
  const seconds: Buffer[] = [];
  for (const [index, box] of boxes.entries()) {
    const next = boxes[index + 1];
    if (box.type === 'moof' && next?.type === 'mdat') seconds.push(file.subarray(box.start, next.end));
  }
  const config = init.indexOf('avcC');
  const mime = `video/mp4; codecs="avc1.${init.subarray(config + 5, config + 8).toString('hex')}"`;
  return { init, mime, seconds, timescale: 90_000 };
}

/** One picture. */
export function jpeg(): Buffer {
  const made = spawnSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=320x180:d=1', '-frames:v', '1', '-f', 'mjpeg', '-']);
  if (made.status !== 0) throw new Error(`ffmpeg: ${made.stderr}`);
  return made.stdout;
}

/** A copy of a fragment that begins at `time`, in ticks. */
export function moved(fragment: Buffer, time: bigint): Buffer {
  const copy = Buffer.from(fragment);
  const at = copy.indexOf('tfdt');
  if (copy[at + 4] !== 1) throw new Error('a tfdt of 32 bits');
  copy.writeBigUInt64BE(time, at + 8);
  return copy;
}

function boxesOf(file: Buffer): { type: string; start: number; end: number }[] {
  const boxes = [];
  for (let start = 0; start + 8 <= file.length; ) {
    const size = file.readUInt32BE(start);
    boxes.push({ type: file.toString('latin1', start + 4, start + 8), start, end: start + size });
    start += size;
  }
  return boxes;
}
