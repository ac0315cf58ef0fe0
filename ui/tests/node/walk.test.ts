/** Every page of the console before the real program: what is seen is compared with what the cameras really sent. */

import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch, Visit } from '../browser';
import { counter, counters, firstPicture, numbersIn, shownBy, shownIn } from './counter';
import { look } from './look';
import { Cameras, Node, Place, until } from './program';

const run = promisify(execFile);

const PASSWORD = 'a password for a test';
/** Slower than cameras usually are: a browser without a graphics card decodes four of them in eight tabs. */
const FPS = 10;
/** Far more than one waits for a picture, so that one that came at once did not wait for the next key frame. */
const GOP_S = 4;

const NAMES = ['North gate', 'Dock', 'Tank farm', 'Yard'];

let browser: Browser;
let place: Place;
let cameras: Cameras;
let node: Node;
/** A browser window with the session of the administrator. */
let admin: BrowserContext;

/** When the gap of cam2 began and ended, by the clock of this machine. */
let gap = { from: 0, to: 0 };

beforeAll(async () => {
  place = new Place();
  [browser, cameras] = await Promise.all([
    launch(),
    Cameras.start(place, '--count', '4', '--encoders', '4', '--fps', String(FPS), '--gop', String(FPS * GOP_S), '--bitrate', '300000'),
  ]);
  const listed = cameras.ids.map((id, n) => ({ id, name: NAMES[n] ?? id, url: cameras.url(id) }));
  node = await Node.start(place, { cameras: listed, password: PASSWORD });
  admin = await browser.newContext({
    ignoreHTTPSErrors: true, colorScheme: 'dark', viewport: { width: 1100, height: 690 }, locale: 'en-GB', reducedMotion: 'reduce', timezoneId: 'UTC', acceptDownloads: true,
  });
  const entered = await admin.request.post(`${node.address}api/v1/login`, { data: { user: 'admin', password: PASSWORD } });
  expect(entered.status()).toBe(200);
});
afterAll(async () => {
  await browser.close();
  await place.close();
});

/** Opens a page as the administrator. */
async function open(hash = ''): Promise<Visit> {
  const visit = await Visit.within(admin, node.address);
  await visit.page.goto(node.address + hash);
  await visit.page.getByRole('navigation').waitFor();
  return visit;
}

async function login(page: Page, user: string): Promise<void> {
  await page.getByLabel('User').fill(user);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
}

/** Asks the node by HTTP, with the session of the administrator. */
async function ask<T>(path: string): Promise<T> {
  const answer = await admin.request.get(`${node.address}api/v1/${path}`);
  expect(answer.status(), path).toBe(200);
  return (await answer.json()) as T;
}

const label = (text: string): number => Date.parse(text);
const utc = (ms: number): string => new Date(ms).toISOString();

/** Waits until a camera is recorded, with so much on disk without a gap. */
async function recorded(id: string, seconds: number): Promise<{ from: number; to: number }> {
  return until(`${seconds} s of ${id} on disk`, async () => {
    const { items } = await ask<{ items: { state: string; from: string; to: string }[] }>(`cameras/${id}/coverage`);
    const held = items.findLast((item) => item.state === 'held');
    if (held === undefined || label(held.to) - label(held.from) < seconds * 1000) return undefined;
    return { from: label(held.from), to: label(held.to) };
  }, 40_000);
}

/** Frames of a camera between two labels, each with what its picture shows, as an export of exactly these tells. */
async function frames(id: string, from: number, to: number): Promise<{ label: number; shows: number; key: boolean }[]> {
  const window = `from=${utc(from)}&to=${utc(to)}`;
  const { items } = await ask<{ items: { label: string; key: boolean }[] }>(`cameras/${id}/frames?${window}`);
  const file = await admin.request.get(`${node.address}api/v1/cameras/${id}/export.mp4?${window}`);
  expect(file.status()).toBe(200);
  // Before the first there may be those from the key frame on, which the file's edit list hides.
  const numbers = numbersIn(await file.body()).slice(-items.length);
  expect(numbers.length).toBe(items.length);
  return items.map((item, n) => ({ label: label(item.label), key: item.key, shows: shownBy(numbers[n] ?? -1n) }));
}

/** The time that is written over the picture of the timeline. */
async function written(page: Page): Promise<number> {
  const text = (await page.locator('.screen .label').textContent()) ?? '';
  const found = /(\d{2} \w+ \d{4}) (\d{2}:\d{2}:\d{2}\.\d{3})/.exec(text);
  return Date.parse(`${found?.[1]} ${found?.[2]} UTC`);
}

it('one logs in with a password, and the browser hears of no error', async () => {
  const visit = await Visit.open(browser, node.address, { ignoreHTTPSErrors: true });
  await visit.page.goto(node.address);
  await visit.page.getByLabel('User').waitFor();
  await look(visit);
  await login(visit.page, 'admin');
  await visit.close();
});

it('four live pictures advance, by the numbers in them', async () => {
  const visit = await open();
  const { page } = visit;
  await page.getByText('Recording 4 of 4').waitFor();
  const all = async (): Promise<number[] | undefined> => {
    const seen = await counters(page, 'article video');
    return seen.length === 4 && seen.every((one) => one !== null) ? (seen as number[]) : undefined;
  };
  const begin = Date.now();
  let before = await until('four pictures', all);
  // Each second brings its frames, no fewer and no more.
  for (let second = 0; second < 4; second += 1) {
    const from = Date.now();
    await page.waitForTimeout(1000);
    const seen = await until('four pictures', all);
    const due = ((Date.now() - from) / 1000) * FPS;
    for (const [n, one] of seen.entries()) {
      expect(one - (before[n] ?? 0), `tile ${n}`).toBeGreaterThan(due * 0.4);
      // One that has fallen behind catches up with a jump, by a group of pictures at most.
      expect(one - (before[n] ?? 0), `tile ${n}`).toBeLessThan(due + FPS * GOP_S);
    }
    before = seen;
  }
  console.log(`four pictures were there after ${Date.now() - begin - 4000} ms`);
  await page.getByText(/ms behind|s behind/).first().waitFor();
  await look(visit, 'live');
  await visit.close();
});

it('a camera that is opened shows a picture within its group of pictures', async () => {
  const visit = await open();
  const { page } = visit;
  await page.waitForFunction(() => document.querySelectorAll('[data-phase="playing"]').length === 4);
  const took: number[] = [];
  for (const name of NAMES) {
    took.push(await firstPicture(page, () => page.getByRole('button', { name: `Open ${name} alone` }).click()));
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => document.querySelectorAll('article').length === 4);
  }
  console.log(`a camera shows a picture ${took.map((ms) => `${ms} ms`).join(', ')} after it was opened; a group of pictures lasts ${GOP_S} s`);
  expect(Math.max(...took)).toBeLessThan(GOP_S * 1000);
  await visit.close();
});

describe('the timeline', () => {
  it('shows at each place the very frame that was recorded there', async () => {
    const held = await recorded('cam1', 12);
    const known = await frames('cam1', held.to - 11_000, held.to - 1000);
    expect(known.length).toBeGreaterThan(80);
    const key = known.findIndex((frame, n) => frame.key && n > 2);
    const visit = await open();
    const { page } = visit;
    // A key frame, the last before it, one in the middle of a group, the first of all, and one near the end.
    for (const at of [key, key - 1, key + 15, 0, known.length - 12]) {
      const frame = known[at];
      if (frame === undefined) throw new Error(`no frame ${at} of ${known.length}`);
      await page.goto(`${node.address}#/timeline?camera=cam1&at=${utc(frame.label + 20)}&span=60`);
      await page.waitForSelector('.screen[data-phase="paused"]');
      await counter(page, frame.shows);
      await until(`the time of frame ${at}`, async () => (Math.abs((await written(page)) - frame.label) < 2 ? true : undefined));
    }
    // One picture back and forward, by the keyboard.
    const near = known[known.length - 12]?.shows ?? 0;
    await page.keyboard.press('.');
    await counter(page, near + 1);
    await page.keyboard.press(',');
    await page.keyboard.press(',');
    await counter(page, near - 1);
    // Backwards, and forwards.
    await page.keyboard.press('j');
    await counter(page, (shown) => shown < near - FPS * 2);
    await page.keyboard.press('k');
    await page.waitForSelector('.screen[data-phase="paused"]');
    const stood = await counter(page);
    await page.keyboard.press('l');
    await counter(page, (shown) => shown > stood + FPS);
    await page.keyboard.press('k');
    await visit.close();
  });

  it('keeps the pictures before a key frame that was fetched again, with sound that begins earlier', async () => {
    const held = await recorded('cam1', 12);
    const visit = await open(`#/timeline?camera=cam1&at=${utc(held.to - 1000)}&span=60`);
    const { page } = visit;
    await page.waitForSelector('.screen[data-phase="paused"]');
    // While it stands there, what is recorded is fetched second by second, each time from the last key frame on.
    for (let group = 0; group < 2; group += 1) {
      const from = Date.now();
      const known = await until('a key frame with two seconds behind it', async () => {
        const { to } = await recorded('cam1', 12);
        const late = await frames('cam1', to - 5000, to);
        const key = late.findIndex((frame, n) => frame.key && frame.label > from && n > 2);
        return key > 0 && late.length - key > 2 * FPS ? late.slice(key - 3, key + 1) : undefined;
      });
      for (const frame of known) {
        await page.goto(`${node.address}#/timeline?camera=cam1&at=${utc(frame.label + 20)}&span=60`);
        await counter(page, frame.shows);
      }
    }
    await visit.close();
  });

  it('plays from where one clicks, the frame of that time', async () => {
    const held = await recorded('cam1', 20);
    const visit = await open('#/timeline');
    const { page } = visit;
    const box = page.getByRole('slider', { name: 'Time and camera' });
    // A node that began a minute ago shows minutes, not a day of nothing.
    const shown = await until('a window of minutes', async () => {
      const length = Number(await box.getAttribute('aria-valuemax')) - Number(await box.getAttribute('aria-valuemin'));
      return length < 1800 ? length : undefined;
    });
    const frame = await box.boundingBox();
    if (frame === null) throw new Error('no chart');
    const to = Number(await box.getAttribute('aria-valuemax')) * 1000;
    const x = frame.x + frame.width * (1 - (to - (held.to - 8_000)) / (shown * 1000));
    // The cameras stand by their names; the second is North gate.
    await page.mouse.move(x, frame.y + 26 + 26 * 1.5);
    await page.locator('[data-tip]').getByText('Primary recorder').waitFor();
    await page.mouse.click(x, frame.y + 26 + 26 * 1.5);
    await page.waitForSelector('.screen[data-phase="playing"]');
    await page.keyboard.press('k');
    await page.waitForSelector('.screen[data-phase="paused"]');
    const at = await written(page);
    const stood = await counter(page);
    const [recordedThere] = await frames('cam1', at - 1, at + 50);
    expect(stood).toBe(recordedThere?.shows);
    await visit.close();
  });

  it('says of a gap when it was and why, and goes on behind it', async () => {
    await recorded('cam2', 6);
    const before = Date.now();
    await cameras.command({ camera: 'cam2', fault: 'refuse' });
    const visit = await open();
    const { page } = visit;
    try {
      await page.getByText('Recording 3 of 4').waitFor({ timeout: 20_000 });
      await page.getByText(/Not recording since .*the camera refused the connection/).first().waitFor();
      await look(visit, 'live-loss');
    } finally {
      await cameras.command({ camera: 'cam2', fault: 'refuse', on: false });
    }
    await page.getByText('Recording 4 of 4').waitFor({ timeout: 30_000 });
    gap = { from: before, to: Date.now() };
    await recorded('cam2', 8);
    await page.goto(`${node.address}#/timeline?camera=cam2&at=${utc(Date.now() - 4000)}&span=180`);
    await page.waitForSelector('.screen[data-phase="paused"]');
    await page.keyboard.press('G');
    await page.getByText('No footage here. Gap: the camera refused the connection').waitFor();
    const begun = await written(page);
    expect(begun).toBeGreaterThan(gap.from - 3000);
    expect(begun).toBeLessThan(gap.to);
    const box = await page.getByRole('slider').boundingBox();
    if (box === null) throw new Error('no chart');
    const view = async (name: string): Promise<number> => Number(await page.getByRole('slider').getAttribute(name)) * 1000;
    const [from, to] = [await view('aria-valuemin'), await view('aria-valuemax')];
    await page.mouse.move(box.x + (box.width * (begun + 1000 - from)) / (to - from), box.y + 26 + 26 * 0.5);
    await page.getByText('Gap: the camera refused the connection').first().waitFor();
    await look(visit, 'timeline');
    await page.keyboard.press('l');
    await page.getByText(/Went on behind .* without footage/).waitFor();
    const passed = await counter(page);
    const [behind] = await frames('cam2', (await written(page)) - 1, (await written(page)) + 200);
    expect(Math.abs(passed - (behind?.shows ?? 0))).toBeLessThan(FPS);
    await visit.close();
  });
});

/** Writes down what the page tells of the first export, from here on. */
async function progress(page: Page): Promise<() => Promise<{ state: string; percent: number }[]>> {
  const list = await page.evaluateHandle(() => {
    const seen: { state: string; percent: number }[] = [];
    new MutationObserver(() => {
      const row = document.querySelector<HTMLElement>('tr[data-state]');
      const state = row?.dataset['state'];
      if (row === null || state === undefined) return;
      const percent = row.querySelector('progress')?.value ?? (state === 'done' ? 100 : 0);
      const last = seen.at(-1);
      if (last?.state !== state || last.percent !== percent) seen.push({ state, percent });
    }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
    return seen;
  });
  return () => list.jsonValue();
}

it('what is marked is exported, fetched, decoded and proves itself', async () => {
  const held = await recorded('cam1', 14);
  const [from, to] = [held.to - 12_000, held.to - 2000];
  const known = await frames('cam1', from, to);
  const visit = await open(`#/timeline?camera=cam1&at=${utc((known[0]?.label ?? 0) + 20)}&span=60`);
  const { page } = visit;
  await page.waitForSelector('.screen[data-phase="paused"]');
  await until('the time of the first picture', async () => (Math.abs((await written(page)) - (known[0]?.label ?? 0)) < 2 ? true : undefined));
  await page.keyboard.press('[');
  await page.keyboard.press('ArrowRight');
  await page.getByRole('button', { name: 'Mark end' }).click();
  await page.getByText(/Marked: (9\.9|10\.0|10) s/).waitFor();
  await page.keyboard.press('e');
  await page.getByRole('heading', { name: 'Export footage' }).waitFor();
  await page.getByRole('dialog').getByLabel('Yard').check();
  await look(visit, 'export-dialog');
  const steps = await progress(page);
  await page.getByRole('button', { name: 'Start the export' }).click();
  const link = page.getByRole('link', { name: 'Download' });
  await link.waitFor({ timeout: 20_000 });
  // How many steps are seen of so small an export is chance; none leads back.
  const seen = await steps();
  expect(seen.at(-1)).toEqual({ state: 'done', percent: 100 });
  for (const [n, { state, percent }] of seen.entries()) {
    const before = seen[n - 1] ?? { state: 'waiting', percent: 0 };
    expect(['waiting', 'running', 'done'].indexOf(state)).toBeGreaterThanOrEqual(['waiting', 'running', 'done'].indexOf(before.state));
    expect(percent).toBeGreaterThanOrEqual(before.percent);
  }
  await look(visit, 'exports');
  const [download] = await Promise.all([page.waitForEvent('download'), link.click()]);
  expect(download.suggestedFilename()).toMatch(/\.zip$/);
  await download.saveAs(join(place.path, 'footage.zip'));
  expect(await place.run('export', 'verify', 'footage.zip')).toContain('all 4 files are as they were signed');
  const folder = join(place.path, 'unpacked');
  mkdirSync(folder);
  await run('unzip', ['-q', join(place.path, 'footage.zip'), '-d', folder]);
  const films = readdirSync(folder).filter((name) => name.endsWith('.mp4')).sort();
  expect(films.map((name) => name.split('-')[0])).toEqual(['cam1', 'cam4']);
  // Exactly the pictures from the first mark up to the second, none twice, none missing.
  const first = known[0]?.shows ?? 0;
  const shown = shownIn(join(folder, films[0] ?? ''));
  expect(shown.length).toBeGreaterThanOrEqual(10 * FPS - 1);
  expect(shown.length).toBeLessThanOrEqual(10 * FPS + 1);
  expect(shown).toEqual(Array.from({ length: shown.length }, (_, n) => first + n));
  expect(shownIn(join(folder, films[1] ?? '')).every((one) => one !== null)).toBe(true);
  await visit.close();
});

it('eight tabs at once are all live', async () => {
  // Thirty-two pictures are decoded at once, without a graphics card: it is not about how soon.
  const limit_ms = 40_000;
  const visits = await Promise.all(Array.from({ length: 8 }, () => open()));
  const seen = (visit: Visit): Promise<number[]> => until('four pictures in each tab', async () => {
    const found = await counters(visit.page, 'article video');
    return found.length === 4 && found.every((one) => one !== null) ? (found as number[]) : undefined;
  }, limit_ms);
  const before = await Promise.all(visits.map(seen));
  await Promise.all(visits.map((visit, n) => until(`tab ${n} goes on`, async () => {
    const after = await seen(visit);
    return after.every((one, tile) => one > (before[n]?.[tile] ?? 0) + 2 * FPS) ? true : undefined;
  }, limit_ms)));
  for (const visit of visits) await visit.page.getByText('Data live').waitFor();
  for (const visit of visits) await visit.close();
});

it('a viewer at one camera sees that one live, and nothing of what takes a higher role', async () => {
  const visit = await open('#/users');
  const { page } = visit;
  await page.getByRole('button', { name: 'Add a user' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill('guard');
  await dialog.getByLabel('Password').fill(PASSWORD);
  await dialog.getByLabel(/^Everywhere/).selectOption('');
  await dialog.getByLabel('Dock').selectOption('viewer');
  await look(visit);
  await dialog.getByRole('button', { name: 'Add' }).click();
  await page.getByRole('button', { name: 'Edit: guard' }).waitFor();
  await page.getByRole('button', { name: 'Make a token' }).click();
  await dialog.getByLabel('What it is for').fill('wall display');
  await dialog.getByLabel('Role').selectOption('viewer');
  await dialog.getByRole('button', { name: 'Make a token' }).click();
  const token = (await dialog.locator('code').textContent()) ?? '';
  expect(token).toMatch(/^kw_/);
  await look(visit);
  await dialog.getByRole('button', { name: 'Close' }).click();
  await look(visit, 'users');

  // The token may what was given to it, and no more, until it is revoked.
  const asked = async (path: string): Promise<number> => {
    const program = await browser.newContext({ ignoreHTTPSErrors: true, extraHTTPHeaders: { Authorization: `Bearer ${token}` } });
    const answer = await program.request.get(`${node.address}api/v1/${path}`);
    await program.close();
    return answer.status();
  };
  expect([await asked('cameras/cam1'), await asked(`cameras/cam1/picture.jpg?at=${utc(Date.now() - 5000)}`)]).toEqual([200, 403]);
  await page.getByRole('button', { name: 'Revoke: wall display' }).click();
  await dialog.getByRole('button', { name: 'Revoke' }).click();
  await page.getByText('No tokens.').waitFor();
  expect(await asked('cameras/cam1')).toBe(401);

  const guard = await Visit.open(browser, node.address, { ignoreHTTPSErrors: true, timezoneId: 'UTC' });
  const seen = guard.page;
  await seen.goto(node.address);
  await login(seen, 'guard');
  await seen.getByText('Recording 1 of 1').waitFor();
  await counter(seen);
  await look(guard);
  await guard.go('Timeline');
  await seen.getByText('Playing footage needs the role Operator').waitFor();
  expect(await seen.getByRole('button', { name: 'Play', exact: true }).isDisabled()).toBe(true);
  expect(await seen.getByRole('button', { name: 'Export' }).isDisabled()).toBe(true);
  await look(guard);
  await guard.go('Exports');
  await seen.getByText('No exports.').waitFor();
  expect(await seen.getByRole('button', { name: 'Export footage' }).isDisabled()).toBe(true);
  await look(guard);
  await guard.go('Cameras');
  expect(await seen.getByText('North gate').count()).toBe(0);
  expect(await seen.getByRole('button', { name: 'Scan', exact: true }).count()).toBe(0);
  await guard.go('Users');
  await seen.getByRole('heading', { name: 'Tokens for programs' }).waitFor();
  expect(await seen.getByText('admin').count()).toBe(0);
  await look(guard);

  // Taken away while it is being watched, the right ends what is shown.
  await guard.go('Live');
  await counter(seen);
  await page.getByRole('button', { name: 'Remove: guard' }).click();
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await seen.getByText('The session has ended. Log in again.').waitFor();
  await guard.context.close();
  await visit.close();
});

it('everything is reached and done by the keyboard alone', async () => {
  const visit = await open();
  const { page } = visit;
  await page.getByText('Recording 4 of 4').waitFor();
  for (const [n, name] of ['Live', 'Timeline', 'Exports', 'Cameras', 'NVR Failover', 'Edge', 'Users'].entries()) {
    await page.keyboard.press(`Alt+${n + 1}`);
    await page.waitForFunction((title) => document.title.startsWith(title), name);
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    const missed = await tabThrough(page);
    expect(missed, `not reached on ${name}`).toEqual([]);
  }
  // A camera alone, its footage, an export: without a pointer.
  await page.keyboard.press('Alt+1');
  await page.waitForFunction(() => document.querySelectorAll('article').length === 4);
  await page.keyboard.press('2');
  await page.waitForURL(/camera=cam1/);
  await page.getByRole('link', { name: 'Play back from here' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForURL(/timeline/);
  await page.getByRole('slider').focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('n');
  await counter(page);
  await page.keyboard.press('?');
  await page.getByRole('dialog').waitFor();
  await look(visit);
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Log out' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  await page.keyboard.type('admin');
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
  await visit.close();
});

/** Presses Tab until the focus has gone round, and returns what can be used and was not reached. */
async function tabThrough(page: Page): Promise<string[]> {
  const usable = await page.evaluate(() => {
    const all = [...document.querySelectorAll<HTMLElement>('a[href], button:not(:disabled), input:not(:disabled), select:not(:disabled), summary, [tabindex="0"]')];
    const shown = all.filter((element) => element.checkVisibility({ visibilityProperty: true }) && element.tabIndex >= 0);
    for (const [n, element] of shown.entries()) element.dataset['walk'] = String(n);
    return shown.length;
  });
  const reached = new Set<string>();
  for (let n = 0; n < usable + 20 && reached.size < usable; n += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset['walk']);
    if (at !== undefined) reached.add(at);
  }
  return page.evaluate((seen) => [...document.querySelectorAll<HTMLElement>('[data-walk]')].filter((element) => {
    const n = element.dataset['walk'] ?? '';
    delete element.dataset['walk'];
    return !seen.includes(n);
  }).map((element) => element.outerHTML.slice(0, 120)), [...reached]);
}

describe('when the node is away', () => {
  it('a veil lies over the page until it answers again, and what it shows is true again', async () => {
    const visit = await open();
    const { page } = visit;
    await page.getByText('Data live').waitFor();
    node.program.hang(true);
    const hung = Date.now();
    try {
      await page.getByText('What is shown may no longer be so').waitFor({ timeout: 12_000 });
      expect(Date.now() - hung).toBeGreaterThan(4000);
      await page.getByText('Recording: unknown (was 4 of 4)').waitFor();
      await look(visit);
    } finally {
      node.program.hang(false);
    }
    await page.getByText('Data live').waitFor({ timeout: 20_000 });
    await page.getByText('Recording 4 of 4').waitFor({ timeout: 20_000 });
    const before = await until('pictures', async () => {
      const seen = await counters(page, 'article video');
      return seen.every((one) => one !== null) ? (seen as number[]) : undefined;
    });
    await until('pictures that go on', async () => {
      const seen = await counters(page, 'article video');
      return seen.every((one, n) => one !== null && one > (before[n] ?? 0) + FPS) ? true : undefined;
    });
    visit.complaints = visit.complaints.filter((text) => !/WebSocket|ERR_/.test(text));
    await visit.close();
  });

  it('one that was started anew asks for a login, and shows what it recorded before', async () => {
    const visit = await open();
    const { page } = visit;
    await page.getByText('Data live').waitFor();
    const listen = new URL(node.address).host;
    await node.program.end();
    await page.getByText('What is shown may no longer be so').waitFor({ timeout: 12_000 });
    const listed = cameras.ids.map((id, n) => ({ id, name: NAMES[n] ?? id, url: cameras.url(id) }));
    node = await Node.start(place, { cameras: listed, listen });
    await page.getByText('The session has ended. Log in again.').waitFor({ timeout: 20_000 });
    await login(page, 'admin');
    await page.getByText('Recording 4 of 4').waitFor({ timeout: 20_000 });
    await page.goto(`${node.address}#/timeline?camera=cam2&at=${utc(gap.from - 2000)}&span=180`);
    await counter(page);
    visit.provoked(/WebSocket|ERR_/);
    await visit.close();
  });
});
