/** The page Edge in a real browser, before a made-up node: what it sends, and the nodes that send to it. */

import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch, type Scheme } from '../browser';
import { type FakeEdge, line, node, recorder, sending } from './edge';
import { FakeNode } from './fake';
import { Site } from './site';

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const ago = (ms: number): string => new Date(Date.now() - ms).toISOString();
const button = (within: Page | Locator, name: string): Locator => within.getByRole('button', { name, exact: true });
const dialog = (page: Page, name: string): Locator => page.getByRole('dialog', { name });
const row = (page: Page, name: RegExp): Locator => page.getByRole('row', { name });

async function opened(fake: FakeNode, scheme: Scheme = 'dark'): Promise<{ site: Site; page: Page; edge: FakeEdge }> {
  const site = await Site.open(browser, fake, scheme, '#/edge');
  await site.page.setViewportSize({ width: 1360, height: 1300 });
  await site.login();
  if (fake.edge === null) throw new Error('it has the role');
  return { site, page: site.page, edge: fake.edge };
}

/** A box beside three cameras, one of them with two streams. */
function box(): FakeNode {
  const fake = new FakeNode();
  fake.cameras = [{ id: 'gate', name: 'North gate', sub: true }, { id: 'dock', name: 'Dock 2' }, { id: 'tank', name: 'Tank farm east' }];
  if (fake.edge !== null) fake.edge.edge = sending([line('gate'), line('gate', { stream: 1, recorded_bits_per_second: 300_000 }), line('dock'), line('tank', { wanted: false, behind_ms: null })]);
  return fake;
}

/** A recorder to which two boxes send. */
function center(): FakeNode {
  const fake = new FakeNode();
  const now = Date.now();
  fake.cameras = [
    { id: 'gate', name: 'North gate', relayed: 104_000 }, { id: 'dock', name: 'Dock 2', relayed: 101_000 },
    { id: 'yard', name: 'Yard', lost: { reason: 'not_sent', detail: 'the edge node that records the camera has not sent it', since: now - 900_000 } },
  ];
  fake.gaps = [
    { camera: 'gate', from: now - 104_000, to: now, state: 'gap', reason: 'not_sent' }, { camera: 'dock', from: now - 7_200_000, to: now - 3_600_000, state: 'gap', reason: 'not_sent' },
    { camera: 'yard', from: now - 900_000, to: now, state: 'gap', reason: 'not_sent' },
  ];
  if (fake.edge !== null) fake.edge.nodes = [node('box', ['gate', 'dock']), node('shed', ['yard'], { heard: ago(900_000) })];
  return fake;
}

describe.each(['dark', 'light'] as const)('%s', (scheme) => {
  it('shows a node that is well, quietly and whole', async () => {
    const { site, page } = await opened(box(), scheme);
    await page.getByText('Case 0', { exact: true }).waitFor();
    await page.getByText('Footage is recorded here and sent').waitFor();
    await page.getByText('No alarms.').waitFor();
    await row(page, /^North gate Keeps up 1 min 44 s/).waitFor();
    await row(page, /^North gate, sub stream Keeps up/).waitFor();
    await row(page, /^Tank farm east/).getByText('Not wanted').waitFor();
    await page.getByText('1.2 GB of 31 GB (3 %)').waitFor();
    expect(await page.getByRole('meter').getAttribute('aria-valuenow')).toBe('3');
    await page.getByText('29 MB of 64 MB.').waitFor();
    // The limits are those of a camera: one control for all of its streams.
    expect(await button(page, 'Speed: North gate').count()).toBe(1);
    expect(await page.getByRole('banner').getByRole('link', { name: /^Edge: / }).count()).toBe(0);
    await site.shot(`edge-${scheme}`);
    await site.accessible();
    await site.close();
  });

  it('says that the recorder is away, since when, why, what it costs and when it overflows', async () => {
    const { site, page, edge } = await opened(box(), scheme);
    await page.getByText('Case 0', { exact: true }).waitFor();
    edge.set({
      case: 1, sending: false, recorder: recorder({ away_since: ago(1_900_000), trouble: 'no answer: Connection refused (os error 111)' }),
      fill: { place: 'internal', used_bytes: 28_300_000_000, room_bytes: 31_000_000_000, percent: 91, warned: true, overflows_in_ms: 5_400_000, warning_percent: 90, all_clear_percent: 50 },
      alarms: [
        { kind: 'overflow_ahead', camera: null, since: ago(240_000), text: 'at the present rates local storage overflows in 1 h 30 min' }, { kind: 'never_depletes', camera: 'dock', since: ago(240_000), text: 'at 100 % the newest takes all' },
      ],
    });
    await page.getByText('Case 1', { exact: true }).waitFor();
    await page.getByText('The recorder takes nothing; footage is kept here until it does').waitFor();
    await page.getByText('Why: no answer: Connection refused').waitFor();
    await page.getByText('Overflows in 1 h 30 min at the present rates').waitFor();
    await page.getByText('Overflow ahead').waitFor();
    await page.getByText('Never caught up with: Dock 2').waitFor();
    await row(page, /^Dock 2 Waits for the recorder/).waitFor();
    await page.getByRole('banner').getByRole('link', { name: 'Edge: case 1' }).waitFor();
    await site.shot(`edge-away-${scheme}`);
    await site.accessible();
    // It is back: the newest leaves, and what was left out beside it.
    edge.set({ case: 0, sending: true, recorder: recorder(), alarms: [] });
    edge.setLines('dock', { backlog_ms: 1_850_000, sent_bits_per_second: 4_000_000, depletes_in_ms: 1_850_000 });
    edge.setLines('gate', { backlog_ms: 1_850_000, depletes_in_ms: 1_850_000, cause: 'network' });
    await row(page, /^Dock 2/).getByText('caught up in 30 min 50 s').waitFor();
    await row(page, /^North gate !?Does not catch up/).getByText('short of: the network').waitFor();
    await site.shot(`edge-replenishing-${scheme}`);
    await site.accessible();
    await site.close();
  });

  it('shows at the recorder who sends, how old the newest footage is, and what is still to come', async () => {
    const { site, page } = await opened(center(), scheme);
    const nodes = page.getByRole('list', { name: 'Edge nodes' });
    const first = nodes.getByRole('listitem', { name: 'box' });
    await first.getByText('Sends', { exact: true }).waitFor();
    await first.getByRole('row', { name: /^North gate Relayed by its edge node 1 min 4\d s old 1 min 4\d s$/ }).waitFor();
    await first.getByRole('row', { name: /^Dock 2 .* 1 h 0 min$/ }).waitFor();
    const second = nodes.getByRole('listitem', { name: 'shed' });
    await second.getByText(/Not heard since/).waitFor();
    await second.getByText('the edge node that records the camera has not sent it').waitFor();
    await page.getByText('This node sends its footage nowhere').waitFor();
    await site.shot(`edge-nodes-${scheme}`);
    await site.accessible();
    await button(page, 'Make a token').click();
    await dialog(page, 'Token for one edge node').getByText(/^kwp_/).waitFor();
    await site.shot(`edge-token-${scheme}`);
    await site.accessible();
    await site.close();
  });
});

it('registers with a token, says what was refused, and sends nothing more when told so', async () => {
  const fake = new FakeNode();
  fake.cameras = [{ id: 'gate', name: 'North gate' }];
  const { site, page, edge } = await opened(fake);
  await page.getByText('No edge node sends to this recorder.').waitFor();
  await site.shot('edge-empty');
  await site.accessible();
  await button(page, 'Send to a recorder').click();
  const form = dialog(page, 'Send to a recorder');
  await form.getByLabel('Address of the recorder').fill('192.0.2.7');
  await form.getByLabel('Token', { exact: true }).fill('kwp_old');
  await button(form, 'OK').click();
  await form.getByText('The recorder does not know this token').waitFor();
  site.visit.provoked(/409/);
  await site.shot('edge-register');
  await site.accessible();
  await form.getByLabel('User and password').check();
  await form.getByLabel('Password', { exact: true }).fill('recorder');
  await form.getByLabel('Its key (optional)').fill('5f5f5f5f5f5f5f5f');
  await page.keyboard.press('Enter');
  await page.getByText('Case 0', { exact: true }).waitFor();
  expect(await page.getByRole('dialog').count()).toBe(0);
  expect(edge.did.at(-1)).toBe('POST edge/recorder {"address":"192.0.2.7","user":"admin","password":"recorder","key":"5f5f5f5f5f5f5f5f"}');
  edge.set({ lines: [line('gate')] });
  await button(page, 'Send nothing more').click();
  const ask = dialog(page, 'Send nothing more to center?');
  await site.accessible();
  await button(ask, 'Send nothing more').click();
  await page.getByText('This node sends its footage nowhere').waitFor();
  expect(edge.did.at(-1)).toBe('DELETE edge/recorder');
  await site.close();
});

it('a camera is paused, resumed and limited by keyboard, and what never catches up is set on purpose only', async () => {
  const fake = box();
  const { site, page, edge } = await opened(fake);
  await button(page, 'Pause: Dock 2').focus();
  await page.keyboard.press('Enter');
  await dialog(page, 'Pause the sending of Dock 2?').getByText('is overwritten in the end').waitFor();
  await site.accessible();
  await page.keyboard.press('Tab');
  await button(dialog(page, 'Pause the sending of Dock 2?'), 'Pause').press('Enter');
  await row(page, /^Dock 2 ▲?Paused/).waitFor();
  expect(edge.did).toEqual(['PUT edge/lines/dock {"speed_percent":0,"rate_bits_per_second":0,"confirm":true}']);
  // It was not set here before, so it goes back to what the configuration says.
  await button(page, 'Resume: Dock 2').click();
  await button(page, 'Pause: Dock 2').waitFor();
  expect(edge.did.at(-1)).toBe('DELETE edge/lines/dock');
  await button(page, 'Speed: North gate').click();
  const form = dialog(page, 'Speed: North gate');
  await form.getByText('Recorded with 2.0 Mbit/s at the moment.').waitFor();
  await form.getByText('made up for in 1 h 0 min').waitFor();
  await form.getByLabel(/^Speed, in %/).fill('500');
  await form.getByText('made up for in 15 min').waitFor();
  await form.getByLabel(/kbit\/s/).fill('1000');
  await form.getByText('It is sent at 50 % of what is recorded at most').waitFor();
  expect(await button(form, 'Apply').isDisabled()).toBe(true);
  await site.shot('edge-speed');
  await site.accessible();
  await form.getByLabel('Set it all the same').check();
  await button(form, 'Apply').click();
  await row(page, /^North gate Keeps up .* 500 %, 1\.0 Mbit\/s/).getByText('set here').waitFor();
  expect(edge.did.at(-1)).toBe('PUT edge/lines/gate {"speed_percent":500,"rate_bits_per_second":1000000,"confirm":true}');
  // What was set here is set again.
  await button(page, 'Pause: North gate').click();
  await button(dialog(page, 'Pause the sending of North gate?'), 'Pause').click();
  await button(page, 'Resume: North gate').click();
  await button(page, 'Pause: North gate').waitFor();
  expect(edge.did.at(-1)).toBe('PUT edge/lines/gate {"speed_percent":500,"rate_bits_per_second":1000000,"confirm":true}');
  await button(page, 'Speed: North gate').click();
  await button(form, 'As configured').click();
  await row(page, /^North gate Keeps up .* 200 %/).waitFor();
  expect(edge.did.at(-1)).toBe('DELETE edge/lines/gate');
  // The node knows better what leaves: other cameras share the line.
  edge.needs = 2;
  await button(page, 'Speed: North gate').click();
  await form.getByLabel(/kbit\/s/).fill('3000');
  await form.getByText('made up for in 2 h 0 min').waitFor();
  await button(form, 'Apply').click();
  await form.getByText('With this limit footage that was left out never leaves.').waitFor();
  site.visit.provoked(/409/);
  await form.getByLabel('Set it all the same').check();
  await button(form, 'Apply').click();
  await row(page, /^North gate Keeps up .* 200 %, 3\.0 Mbit\/s/).waitFor();
  edge.refuse = { problem: 503, code: 'edge_ending', detail: 'the node ends' };
  edge.setLines('dock', { speed_percent: 0, limit_set: true });
  await button(page, 'Resume: Dock 2').click();
  await page.getByText('The node ends.').waitFor();
  site.visit.provoked(/503/);
  // Who has 0 % in the configuration has to say how fast.
  edge.setLines('tank', { speed_percent: 0 });
  await button(page, 'Resume: Tank farm east').click();
  await dialog(page, 'Speed: Tank farm east').getByText('Nothing of it is sent until the speed is raised.').waitFor();
  await site.close();
});

it('says cases 2 to 4, and which storage failed', async () => {
  const { site, page, edge } = await opened(box());
  const gone = [{ place: 'internal', condition: 'gone', recorded_to: false }];
  edge.set({ case: 3, storages: gone });
  await page.getByText('Local storage is gone').waitFor();
  await page.getByText('!Gone').waitFor();
  edge.set({ case: 2, storages: [{ place: 'internal', condition: 'read_only', recorded_to: false }] });
  await page.getByText('Local storage can be read but takes no more footage').waitFor();
  edge.set({ case: 4, storages: [...gone, { place: 'second', condition: 'writable', recorded_to: true }] });
  await page.getByText('The second local storage takes the footage').waitFor();
  await page.getByText('Second storage', { exact: true }).waitFor();
  await site.shot('edge-second');
  await site.accessible();
  await site.close();
});

it('removes a node after asking, and shows a viewer what he may not do', async () => {
  const fake = center();
  const { site, page, edge } = await opened(fake);
  await button(page, 'Remove: shed').click();
  await button(dialog(page, 'Take nothing more of shed?'), 'Remove').click();
  await page.getByRole('listitem', { name: 'shed' }).waitFor({ state: 'detached' });
  expect(edge.did).toEqual([`DELETE edge-nodes/${'94'.repeat(32)}`]);
  await site.close();

  const watched = box();
  watched.role = 'viewer';
  const other = await opened(watched);
  for (const name of ['Pause: Dock 2', 'Speed: Dock 2', 'Send nothing more', 'Make a token']) expect(await button(other.page, name).isDisabled(), name).toBe(true);
  expect(await button(other.page, 'Pause: Dock 2').getAttribute('title')).toBe('This needs the role Operator.');
  await other.site.accessible();
  await other.site.close();

  const guest = box();
  Object.assign(guest, { role: null, at: { gate: 'operator' } });
  const third = await opened(guest);
  await third.page.getByText('Edge recording is shown to users who have a role everywhere.').waitFor();
  expect(guest.asked.filter((text) => text.includes('edge'))).toEqual([]);
  await third.site.close();
});

it('fits a narrow screen, and says when the role does not run', async () => {
  const { site, page } = await opened(box());
  await page.setViewportSize({ width: 360, height: 740 });
  await page.getByText('Case 0', { exact: true }).waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBe(0);
  await site.shot('edge-narrow');
  await site.close();

  const fake = new FakeNode();
  fake.edge = null;
  const other = await Site.open(browser, fake, 'dark', '#/edge');
  await other.login();
  await other.page.getByText('The edge role of this node does not run').waitFor();
  other.visit.provoked(/404/);
  await other.close();
});

it('shows on the timeline what an edge node has yet to send as back-fill that comes, and what it sent as its', async () => {
  const fake = center();
  const now = Date.now();
  fake.gaps.push({ camera: 'dock', from: now - 10_800_000, to: now - 7_200_000, state: 'held', reason: null, origin: 'edge' });
  const { site, page } = await opened(fake);
  await site.go('Timeline');
  await page.getByRole('slider', { name: 'Time and camera' }).waitFor();
  await page.getByText('Coverage as a table').click();
  await page.getByRole('cell', { name: 'Gap, back-fill pending' }).first().waitFor();
  await page.getByRole('cell', { name: 'its edge node has not sent it' }).first().waitFor();
  await page.getByRole('cell', { name: 'Camera edge storage, back-filled' }).first().waitFor();
  await page.getByText('3 cameras are recorded by edge nodes').waitFor();
  await site.shot('edge-timeline');
  await site.accessible();
  await site.close();
});

it('a camera of an edge node is added by the name of the node, and nothing is asked of how it is reached', async () => {
  const fake = center();
  const { site, page } = await opened(fake);
  await site.go('Cameras');
  await button(page, 'Add by address').click();
  const form = dialog(page, 'Add a camera');
  await form.getByLabel(/^Id/).fill('shop');
  await form.getByLabel('Reached by').selectOption('Edge node');
  await form.getByRole('textbox', { name: /^Edge node/ }).fill('box/cam1');
  expect(await form.getByLabel('User').count()).toBe(0);
  expect(await button(form, 'Test').count()).toBe(0);
  await site.accessible();
  await button(form, 'Add').click();
  await expect.poll(() => fake.added).toEqual([{ id: 'shop', edge: 'box/cam1', sub: false }]);
  await site.close();
});
