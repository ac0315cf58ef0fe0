/** The pages of the console in a real browser, before a made-up node. Pictures of them go to shots/. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeNode } from './fake';
import { launch } from '../browser';
import { Site } from './site';

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const HOUR = 3_600_000;

function node(): FakeNode {
  const made = new FakeNode();
  // A gap of the made-up footage begins and ends with a whole second, as its pieces do.
  const now = Math.floor(Date.now() / 1000) * 1000;
  made.cameras = [
    { id: 'gate', name: 'North gate', sub: true, ofFile: true },
    { id: 'dock', name: 'Dock 2' },
    { id: 'tank', name: 'Tank farm east', live: 'waiting', lost: { reason: 'camera_silent', detail: 'the camera sent no pictures: its session stood and nothing came', since: now - 700_000 } },
    { id: 'yard', name: 'Yard', live: 'unplayable', sub: true },
  ];
  made.gaps = [
    { camera: 'gate', from: now - 3 * HOUR, to: now - 2.8 * HOUR, state: 'gap', reason: 'connection_lost' },
    { camera: 'gate', from: now - 10 * HOUR, to: now - 8 * HOUR, state: 'held', reason: null, origin: 'standby' },
    { camera: 'dock', from: now - 12 * HOUR, to: now - 11 * HOUR, state: 'held', reason: null, origin: 'edge' },
    { camera: 'dock', from: now - 11 * HOUR, to: now - 11 * HOUR + 4000, state: 'gap', reason: 'packets_lost' },
    { camera: 'tank', from: now - 700_000, to: now + 700_000, state: 'gap', reason: 'camera_silent' },
    { camera: 'yard', from: now - 20 * HOUR, to: now - 14 * HOUR, state: 'unscheduled', reason: null },
    { camera: 'yard', from: now - 30 * HOUR, to: now - 20 * HOUR, state: 'expired', reason: null },
    { camera: 'yard', from: now - 6 * HOUR, to: now - 5 * HOUR, state: 'unknown', reason: 'disk_absent' },
  ];
  return made;
}

const phase = (page: Page, wanted: string): Promise<unknown> => page.waitForSelector(`.screen[data-phase="${wanted}"]`);
const label = async (page: Page): Promise<number> => Number(await page.getAttribute('.screen', 'data-label'));

describe('without a session', () => {
  it('sets the password of a node that has none, with the code of the address', async () => {
    const fake = node();
    fake.setup = 'AAAA-BBBB-CCCC-DDDD';
    const site = await Site.open(browser, fake, 'dark', '#/setup/AAAA-BBBB-CCCC-DDDD');
    const { page } = site;
    await page.getByLabel('New password').fill('short');
    await page.getByLabel('The same password again').fill('short');
    await page.getByRole('button', { name: 'Set the password' }).click();
    await page.getByText('The password is too short').waitFor();
    await site.shot('setup');
    await site.accessible();
    await page.getByLabel('New password').fill('correct horse battery');
    await page.getByLabel('The same password again').fill('correct horse battery');
    await page.getByRole('button', { name: 'Set the password' }).click();
    await page.getByRole('navigation').waitFor();
    // The code is of no use any more, and must not stay in the address.
    expect(page.url()).not.toContain('AAAA');
    await site.close();
  });

  it('refuses a wrong password in words, and logs in and out', async () => {
    const site = await Site.open(browser, node(), 'light');
    const { page } = site;
    await page.getByLabel('User').fill('admin');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('No such user, or not this password.').waitFor();
    site.visit.provoked(/401/);
    await site.shot('login-light');
    await site.accessible();
    await site.login();
    // A socket that is being connected would be refused, and a browser calls that an error of the page.
    await page.waitForFunction(() => document.querySelectorAll('[data-phase="playing"]').length === 3);
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByRole('button', { name: 'Log in' }).waitFor();
    await site.close();
  });
});

describe.each(['dark', 'light'] as const)('%s', (scheme) => {
  it('shows every camera live, and says of each what is wrong', async () => {
    const site = await Site.open(browser, node(), scheme);
    const { page } = site;
    await site.login();
    await page.getByText('Recording 3 of 4').waitFor();
    await page.waitForFunction(() => document.querySelectorAll('[data-phase="playing"]').length === 3);
    const times = (): Promise<number[]> => page.evaluate(() => [...document.querySelectorAll('video')].map((video) => video.currentTime));
    const before = await times();
    await page.waitForFunction((old) => [...document.querySelectorAll('video')].filter((video, i) => video.currentTime > (old[i] ?? 0) + 1).length === 3, before);
    await page.getByText(/Not recording since/).first().waitFor();
    await page.getByText('Sub stream: this browser cannot play H.265').waitFor();
    await page.getByText(/s behind/).first().waitFor();
    await site.shot(`live-${scheme}`);
    await site.accessible();
    await page.keyboard.press('1');
    await page.waitForURL(/camera=dock/);
    await page.waitForFunction(() => document.querySelectorAll('[data-phase="playing"]').length === 1);
    await site.shot(`live-one-${scheme}`);
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => document.querySelectorAll('article').length === 4);
    await site.close();
  });

  it('plays, steps, turns round and jumps gaps on the timeline', async () => {
    const fake = node();
    const site = await Site.open(browser, fake, scheme);
    const { page } = site;
    await site.login();
    await site.go('Timeline');
    const box = page.getByRole('slider', { name: 'Time and camera' });
    await box.waitFor();
    await page.waitForFunction(() => document.querySelector('[role=slider]')?.getAttribute('aria-valuetext')?.includes('edge storage'));
    const frame = await box.boundingBox();
    if (frame === null) throw new Error('no chart');
    const x = (ago: number): number => frame.x + frame.width * (0.97 - ago / (24 * HOUR));
    // The cameras stand by their names: Dock 2, North gate, Tank farm east, Yard.
    await page.mouse.move(x(2.9 * HOUR), frame.y + 26 + 26 * 1.5);
    await page.getByText('Gap: the camera could not be reached').waitFor();
    await site.shot(`timeline-${scheme}`);
    await site.accessible();
    await page.mouse.click(x(5 * HOUR), frame.y + 26 + 26 * 1.5);
    await phase(page, 'playing');
    await page.waitForFunction(() => (document.querySelector('video')?.currentTime ?? 0) > 0 && (document.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames ?? 0) > 20);
    await site.shot(`playing-${scheme}`);
    await page.keyboard.press('k');
    await phase(page, 'paused');
    const stood = await label(page);
    await page.keyboard.press('.');
    await page.waitForFunction((old) => Math.abs(Number(document.querySelector('.screen')?.getAttribute('data-label')) - old - 40) < 1, stood);
    await page.keyboard.press(',');
    await page.keyboard.press(',');
    await page.waitForFunction((old) => Math.abs(Number(document.querySelector('.screen')?.getAttribute('data-label')) - old + 40) < 1, stood);
    await page.keyboard.press('j');
    await page.waitForFunction((old) => Number(document.querySelector('.screen')?.getAttribute('data-label')) < old - 1500, stood);
    await page.keyboard.press('k');
    await phase(page, 'paused');
    const before = await label(page);
    await page.getByLabel('Speed').selectOption('16');
    await page.getByRole('button', { name: 'Play', exact: true }).click();
    await page.waitForFunction((old) => Number(document.querySelector('.screen')?.getAttribute('data-label')) > old + 20_000, before);
    await page.keyboard.press('k');
    await phase(page, 'paused');
    await page.keyboard.press('g');
    await phase(page, 'missing');
    await page.getByText('No footage here. Gap: the camera could not be reached').waitFor();
    await site.shot(`gap-${scheme}`);
    await page.keyboard.press('l');
    await page.getByText('Went on behind 12 min').waitFor();
    await page.keyboard.press('[');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press(']');
    await page.keyboard.press('e');
    await page.getByRole('heading', { name: 'Export footage' }).waitFor();
    await site.shot(`export-dialog-${scheme}`);
    await site.accessible();
    await page.getByRole('button', { name: 'Start the export' }).click();
    await page.getByText('41 %').waitFor();
    await site.shot(`exports-${scheme}`);
    await site.accessible();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('Cancelled').waitFor();
    await site.close();
  });

  it('scans, logs in to all found cameras at once, edits and removes', async () => {
    const fake = node();
    fake.scanned = [
      { id: 'd', address: '192.0.2.21', onvif: 'http://192.0.2.21', name: 'Lobby', model: 'X-1', added: false },
      { id: 'd', address: '192.0.2.22', onvif: 'http://192.0.2.22', name: 'Lobby', model: 'X-1', added: false },
      { id: 'd', address: '192.0.2.10', onvif: 'http://192.0.2.10', name: 'North gate', model: 'X-2', added: true },
    ];
    const site = await Site.open(browser, fake, scheme);
    const { page } = site;
    await site.login();
    await site.go('Cameras');
    await page.getByRole('button', { name: 'Scan', exact: true }).click();
    await page.getByText('Scan ended: 3 cameras found').waitFor();
    await page.getByText('A camera answered from fe80::7 by eth0 and has no address').waitFor();
    for (const box of await page.getByRole('checkbox', { name: 'Choose Lobby' }).all()) await box.check();
    await site.shot(`cameras-${scheme}`);
    await site.accessible();
    await page.getByRole('button', { name: 'Add 2' }).click();
    await page.getByLabel('User').fill('service');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'OK' }).click();
    await page.getByText('The camera refused the login.').waitFor();
    await page.getByLabel('Password').fill('camera');
    await page.getByLabel('Apply to All Device(s)').check();
    await site.shot(`login-for-${scheme}`);
    await site.accessible();
    await page.getByRole('button', { name: 'OK' }).click();
    await page.getByText('Recording 5 of 6').waitFor();
    expect(fake.added.map((camera) => [camera['id'], camera['user']])).toEqual([['lobby', 'service'], ['lobby-2', 'service']]);
    expect(await page.getByRole('button', { name: 'Edit: North gate' }).isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Edit: Dock 2' }).click();
    await page.getByRole('heading', { name: 'Edit Dock 2' }).waitFor();
    await page.getByRole('textbox', { name: 'Password' }).fill('camera');
    await page.getByRole('button', { name: 'Test' }).click();
    await page.getByText('Offered, but nothing came: aac 16000 Hz').waitFor();
    const picture = page.getByRole('img', { name: 'Picture of the camera' });
    await picture.waitFor();
    expect(await picture.evaluate((image: HTMLImageElement) => image.decode().then(() => image.naturalWidth))).toBeGreaterThan(0);
    await site.shot(`edit-${scheme}`);
    await site.accessible();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Remove: Dock 2' }).click();
    await page.getByText('Its footage stays until it expires').waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    site.complaints = site.complaints.filter((text) => !text.includes('422'));
    await site.close();
  });

  it('shows users, tokens and sessions', async () => {
    const site = await Site.open(browser, node(), scheme);
    const { page } = site;
    await site.login();
    await site.go('Users');
    await page.getByText('backup script').waitFor();
    await site.shot(`users-${scheme}`);
    await site.accessible();
    await page.getByRole('button', { name: 'Add a user' }).click();
    await site.shot(`user-dialog-${scheme}`);
    await site.accessible();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Remove: admin' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await page.getByText('Admin is the last administrator').waitFor();
    await page.getByRole('button', { name: 'Make a token' }).click();
    await page.getByLabel('What it is for').fill('export script');
    await page.getByRole('dialog').getByRole('button', { name: 'Make a token' }).click();
    await page.getByText('kw_AAA').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.keyboard.press('?');
    await site.shot(`keys-${scheme}`);
    await site.accessible();
    site.complaints = site.complaints.filter((text) => !text.includes('409'));
    await site.close();
  });
});

it('a live picture goes on in the same element when the network or the camera was away', async () => {
  const fake = node();
  fake.cameras = [{ id: 'dock', name: 'Dock 2' }];
  const site = await Site.open(browser, fake);
  const { page } = site;
  await site.login();
  const moved = async (): Promise<void> => {
    const before = await page.evaluate(() => document.querySelector('video')?.currentTime ?? 0);
    await page.waitForFunction((old) => document.querySelector('[data-phase="playing"] video') !== null && (document.querySelector('video')?.currentTime ?? 0) > old + 1.5, before);
  };
  await moved();
  const source = await page.evaluate(() => document.querySelector('video')?.src);
  fake.breakLive();
  await page.getByText('The connection to the recorder broke').waitFor();
  await moved();
  await page.getByText(/[12]\.\d s behind/).waitFor();
  fake.seam(30_000);
  await page.getByText(/3\d s behind/).waitFor();
  await moved();
  expect(await page.evaluate(() => document.querySelector('video')?.src)).toBe(source);
  site.complaints = site.complaints.filter((text) => !text.includes('WebSocket'));
  await site.close();
});

it('a moment that is not on disk yet is waited for, and nothing older is played instead', async () => {
  const fake = node();
  fake.cameras = [{ id: 'dock', name: 'Dock 2' }];
  const site = await Site.open(browser, fake);
  const { page } = site;
  await site.login();
  await page.goto(`${site.address}#/timeline?span=120`);
  const box = await page.getByRole('slider').boundingBox();
  const asked = Date.now();
  await page.mouse.click((box?.x ?? 0) + (box?.width ?? 0) * 0.99, (box?.y ?? 0) + 40);
  await phase(page, 'playing');
  expect(await label(page)).toBeGreaterThan(asked - 500);
  expect(await page.getByText('Went on behind').count()).toBe(0);
  await site.close();
});

it('coverage that comes late is told to a pointer that rests', async () => {
  const fake = node();
  fake.cameras = [{ id: 'dock', name: 'Dock 2' }];
  let answer = (): void => undefined;
  fake.coverage = new Promise((resolve) => { answer = resolve; });
  const site = await Site.open(browser, fake);
  const { page } = site;
  await site.login();
  await page.goto(`${site.address}#/timeline?span=3600`);
  const box = await page.getByRole('slider').boundingBox();
  await page.mouse.move((box?.x ?? 0) + 300, (box?.y ?? 0) + 40);
  await page.locator('[data-tip]').getByText('Loading').waitFor();
  answer();
  await page.locator('[data-tip]').getByText('Primary recorder').waitFor();
  await site.close();
});

it('Motion JPEG is shown as pictures, live and on the timeline', async () => {
  const fake = node();
  fake.cameras = [{ id: 'dock', name: 'Dock 2', jpeg: true }];
  const site = await Site.open(browser, fake);
  const { page } = site;
  await site.login();
  await page.waitForSelector('[data-phase="playing"]');
  await page.getByText(/ms behind/).waitFor();
  expect(await page.evaluate(() => [document.querySelector('img')?.naturalWidth, document.querySelector('video')?.hidden])).toEqual([320, true]);
  await site.go('Timeline');
  const box = await page.getByRole('slider').boundingBox();
  await page.mouse.click((box?.x ?? 0) + 300, (box?.y ?? 0) + 40);
  await phase(page, 'playing');
  const before = await label(page);
  await page.waitForFunction((old) => Number(document.querySelector('.screen')?.getAttribute('data-label')) > old + 1000, before);
  await page.getByText('single pictures are shown').waitFor();
  await page.keyboard.press('k');
  await phase(page, 'paused');
  // The picture's own time, not the one that was asked for.
  expect((await label(page)) % 200).toBe(0);
  await site.shot('pictures');
  site.complaints = site.complaints.filter((text) => !text.includes('409'));
  await site.close();
});

it('sixty-four cameras over a week are drawn without a delay that is felt', async () => {
  const fake = node();
  const now = Date.now();
  fake.cameras = Array.from({ length: 64 }, (_, n) => ({ id: `c${n}`, name: `Camera ${String(n).padStart(2, '0')}` }));
  fake.gaps = fake.cameras.flatMap(({ id }, n) => Array.from({ length: 40 }, (_, i) => {
    const from = now - (i + 1) * 4 * HOUR + n * 60_000;
    return { camera: id, from, to: from + 90_000, state: 'gap' as const, reason: 'connection_lost' };
  }));
  const site = await Site.open(browser, fake);
  const { page } = site;
  await site.login();
  await page.goto(`${site.address}#/timeline?span=604800`);
  await page.waitForFunction(() => document.querySelectorAll('.names li').length === 64);
  // All tiles of the window: for each camera one before today and one with today.
  const asked = (): number => new Set(fake.asked.filter((line) => line.includes('/coverage'))).size;
  await expect.poll(asked, { timeout: 20_000 }).toBe(64);
  await page.getByRole('button', { name: 'Earlier' }).click();
  await page.getByRole('button', { name: 'Later' }).click();
  await expect.poll(() => fake.asked.length, { interval: 500, timeout: 20_000 }).toBeGreaterThan(128);
  const median = await page.evaluate(async () => {
    const button = document.querySelector<HTMLButtonElement>('button[aria-label="Zoom in"]');
    const other = document.querySelector<HTMLButtonElement>('button[aria-label="Zoom out"]');
    const times: number[] = [];
    for (let n = 0; n < 20; n += 1) {
      const begun = performance.now();
      (n % 2 === 0 ? button : other)?.click();
      for (let i = 0; i < 20; i += 1) await Promise.resolve();
      times.push(performance.now() - begun);
      await new Promise(requestAnimationFrame);
    }
    return times.sort((a, b) => a - b)[10] ?? 0;
  });
  console.log(`64 cameras, a week: ${median.toFixed(1)} ms to draw`);
  // 16 ms is the aim; a machine that builds something else at the same time is slower.
  expect(median).toBeLessThan(60);
  await site.shot('many');
  await site.close();
});

describe('what may be seen', () => {
  it('draws a veil over data that is older than five seconds, and takes it away', async () => {
    const fake = node();
    const site = await Site.open(browser, fake);
    const { page } = site;
    await site.login();
    await site.go('Cameras');
    await page.getByText('Data live').waitFor();
    fake.silent = true;
    await page.getByText('What is shown may no longer be so').waitFor({ timeout: 10_000 });
    await page.getByText(/Data \d.* old/).waitFor();
    await site.shot('stale');
    await site.accessible();
    fake.silent = false;
    await page.getByText('Data live').waitFor({ timeout: 15_000 });
    site.complaints = site.complaints.filter((text) => !text.includes('WebSocket'));
    await site.close();
  });

  it('offers a viewer no playback, no export and no change', async () => {
    const fake = node();
    fake.role = 'viewer';
    const site = await Site.open(browser, fake);
    const { page } = site;
    await site.login();
    await site.go('Timeline');
    await page.getByText('Playing footage needs the role Operator').waitFor();
    expect(await page.getByRole('button', { name: 'Play', exact: true }).isDisabled()).toBe(true);
    expect(await page.getByRole('button', { name: 'Export' }).isDisabled()).toBe(true);
    const box = await page.getByRole('slider').boundingBox();
    await page.mouse.click((box?.x ?? 0) + 300, (box?.y ?? 0) + 40);
    await site.go('Cameras');
    expect(await page.getByRole('button', { name: 'Add by address' }).isDisabled()).toBe(true);
    expect(fake.asked.filter((line) => line.includes('media.mp4'))).toEqual([]);
    await site.close();
  });
});
