/** Back-fill on the page Timeline in a real browser: what still comes, why it does not, pause and limit. */

import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Replenished } from '../../src/api/types';
import { launch, type Scheme } from '../browser';
import { FakeNode } from './fake';
import { Site } from './site';

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const ago = (ms: number): string => new Date(Date.now() - ms).toISOString();
const SB1: Replenished['sources'][number] = { kind: 'recorder', name: 'SB-1', rests_until: null };
const CARD: Replenished['sources'][number] = { kind: 'card', name: 'gate', rests_until: null };

function item(camera: string, part: Partial<Replenished> = {}): Replenished {
  return { camera, stream: 'main', missing_ms: 72_000, nowhere_ms: 0, running: null, sources: [SB1], last: null, ...part };
}

/** A recorder that was down for a while, as its standby gives its footage back. */
function filling(): FakeNode {
  const fake = new FakeNode();
  const now = Math.floor(Date.now() / 1000) * 1000;
  fake.cameras = [{ id: 'gate', name: 'North gate', sub: true }, { id: 'dock', name: 'Dock 2' }, { id: 'tank', name: 'Tank farm east' }, { id: 'yard', name: 'Yard' }];
  fake.gaps = fake.cameras.map(({ id }) => ({ camera: id, from: now - 3_600_000, to: now - 3_528_000, state: 'gap', reason: 'recorder_down' }));
  const failed: Replenished['last'] = {
    kind: 'recorder', source: 'SB-1', from: ago(3_600_000), to: ago(3_528_000), at: ago(4_000), end: 'unreachable', detail: 'no answer: Connection refused (os error 111)',
    filled_ms: 0, bytes: 0, bits_per_second: 0, took_ms: 3,
  };
  const items = [
    item('gate', { running: { kind: 'recorder', source: 'SB-1', from: ago(3_600_000), to: ago(3_528_000), since: ago(5_000), bytes: 2_097_152, bits_per_second: 4_012_345 }, sources: [SB1, CARD] }),
    item('gate', { stream: 'sub' }),
    item('dock', { sources: [{ ...SB1, rests_until: new Date(Date.now() + 600_000).toISOString() }], last: failed, nowhere_ms: 2_000 }),
    item('tank', { missing_ms: 30_000, sources: [] }),
    item('yard', { missing_ms: 5_000, nowhere_ms: 5_000 }),
  ];
  fake.replenishment = { paused: false, bits_per_second_max: 50_000_000, bits_per_second: 4_012_345, cards: false, missing_ms: 251_000, nowhere_ms: 7_000, items };
  return fake;
}

async function opened(fake: FakeNode, scheme: Scheme = 'dark'): Promise<{ site: Site; page: Page; part: Locator }> {
  const site = await Site.open(browser, fake, scheme, '#/timeline');
  await site.page.setViewportSize({ width: 1360, height: 1500 });
  await site.login();
  return { site, page: site.page, part: site.page.getByRole('region', { name: 'Back-fill' }) };
}

describe.each(['dark', 'light'] as const)('%s', (scheme) => {
  it('says of each camera what is to come and from whom, and why it does not come', async () => {
    const { site, part } = await opened(filling(), scheme);
    // 72 s twice of the gate, 70 s of the dock; 2 s of it, the tank and the yard stay missing.
    await part.getByText('3 min 34 s of footage still to come; 4.0 Mbit/s at the moment.').waitFor();
    await part.getByText('Running', { exact: true }).waitFor();
    const row = (name: RegExp): Locator => part.getByRole('row', { name });
    await row(/^North gate 1 min/).getByText(/comes from standby SB-1/).waitFor();
    await row(/^North gate 1 min/).getByText('2.1 MB so far, 4.0 Mbit/s').waitFor();
    await row(/^North gate, sub stream/).getByText('Waits for its turn').waitFor();
    await row(/^Dock 2/).getByText(/Could not be reached, or refused; asked again at/).waitFor();
    await row(/^Dock 2/).getByText(/not reached, or it broke off \(no answer: Connection refused/).waitFor();
    expect(await row(/^Yard/).isVisible()).toBe(false);
    await part.getByText('37 s of footage stays missing').click();
    await row(/^Yard 5.0 s/).getByText('Nobody who was asked has it').waitFor();
    await row(/^Tank farm east/).getByText('no standby watches this recorder, and backfill_cards is off').waitFor();
    await row(/^Dock 2 2.0 s/).waitFor();
    await part.scrollIntoViewIfNeeded();
    await site.shot(`backfill-${scheme}`);
    await site.accessible();
    await site.close();
  });

  it('is one quiet sentence where nothing is missing', async () => {
    const fake = filling();
    fake.replenishment = { ...fake.replenishment, missing_ms: 0, nowhere_ms: 0, items: [item('gate', { missing_ms: 0 })] };
    const { site, part } = await opened(fake, scheme);
    await part.getByText('No footage is missing that could be fetched from elsewhere.').waitFor();
    expect(await part.getByRole('button').count()).toBe(0);
    expect(await part.getByRole('table').count()).toBe(0);
    await site.accessible();
    await site.close();
  });
});

it('is paused, limited and taken up again by keyboard, and follows what the recorder says', async () => {
  const fake = filling();
  const { site, page, part } = await opened(fake);
  const pause = part.getByRole('button', { name: 'Pause', exact: true });
  const resume = part.getByRole('button', { name: 'Go on', exact: true });
  const limit = part.getByLabel('At most');
  await pause.focus();
  // The page has this key, too: it plays nothing here.
  await page.keyboard.press('Space');
  await resume.waitFor();
  expect(fake.replenishment.paused).toBe(true);
  await part.getByText('Somebody paused it. It goes on when you say so, or when the recorder is restarted.').waitFor();
  await part.getByText('nothing comes at the moment').waitFor();
  await site.shot('backfill-paused');
  await site.accessible();
  await page.keyboard.press('Tab');
  expect(await limit.inputValue()).toBe('50000000');
  await limit.selectOption('20 Mbit/s');
  // Chosen is not set.
  expect(fake.replenishment.bits_per_second_max).toBe(50_000_000);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await expect.poll(() => fake.replenishment.bits_per_second_max).toBe(20_000_000);
  await expect.poll(() => part.getByRole('button', { name: 'Apply' }).isDisabled()).toBe(true);
  await limit.selectOption('no limit');
  await part.getByRole('button', { name: 'Apply' }).click();
  await expect.poll(() => fake.replenishment.bits_per_second_max).toBeNull();
  await resume.click();
  await pause.waitFor();
  expect(fake.replenishment.paused).toBe(false);
  // It is looked at again by itself.
  fake.replenishment = { ...fake.replenishment, missing_ms: 0, nowhere_ms: 0, bits_per_second: 0, items: [] };
  await part.getByText('No footage is missing that could be fetched from elsewhere.').waitFor();
  await site.close();
});

it('a pause that was forgotten is said also where nothing is missing', async () => {
  const fake = filling();
  fake.replenishment = { ...fake.replenishment, paused: true, missing_ms: 0, nowhere_ms: 0, items: [] };
  const { site, part } = await opened(fake);
  await part.getByText('▲Paused', { exact: true }).waitFor();
  await part.getByRole('button', { name: 'Go on' }).waitFor();
  await site.close();
});

it('a viewer may look, and who has a role at single cameras only is told so', async () => {
  const fake = filling();
  fake.role = 'viewer';
  const { site, part } = await opened(fake);
  const pause = part.getByRole('button', { name: 'Pause' });
  await pause.waitFor();
  expect(await pause.isDisabled()).toBe(true);
  expect(await pause.getAttribute('title')).toBe('This needs the role Supervisor.');
  expect(await part.getByLabel('At most').isDisabled()).toBe(true);
  await site.accessible();
  await site.close();

  const guest = filling();
  Object.assign(guest, { role: null, at: { gate: 'operator' } });
  const other = await opened(guest);
  await other.part.getByText('Back-fill is shown to users who have a role everywhere.').waitFor();
  expect(guest.asked.filter((line) => line.includes('replenishment'))).toEqual([]);
  await other.site.close();
});

it('says what the recorder refused, and fits a narrow screen', async () => {
  const fake = filling();
  const { site, page, part } = await opened(fake);
  await page.setViewportSize({ width: 360, height: 740 });
  await part.getByRole('button', { name: 'Pause' }).waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBe(0);
  await part.scrollIntoViewIfNeeded();
  await site.shot('backfill-narrow');
  fake.refuse = { problem: 403, code: 'forbidden', detail: 'this needs the role supervisor' };
  await part.getByRole('button', { name: 'Pause' }).click();
  await part.getByText('This needs the role supervisor.').first().waitFor();
  site.visit.provoked(/403/);
  await site.close();
});
