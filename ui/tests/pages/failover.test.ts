/** The page NVR Failover in a real browser, before a made-up standby: the operator's steps by mouse and by keyboard. */

import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch } from '../browser';
import { FakeNode } from './fake';
import { Site } from './site';
import { type FakeStandby, found, primary } from './standby';

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const NVR1 = 'role-1';
const NVR2 = 'role-2';

function made(): { fake: FakeNode; standby: FakeStandby } {
  const fake = new FakeNode();
  const standby = fake.watch([primary(NVR1, 'NVR-1', 11), primary(NVR2, 'NVR-2', 12)]);
  standby.around = [found('NVR-3', 13), found('NVR-4', 14), found('NVR-1', 11, { registered: true }), found('NVR-5', 15, { watched_by: ['SB-2'] }), found('old box', 16, { version: '0.0.9', version_differs: true })];
  return { fake, standby };
}

async function opened(fake: FakeNode, scheme: 'dark' | 'light' = 'dark', hash = '#/failover'): Promise<Site> {
  const site = await Site.open(browser, fake, scheme, hash);
  // All of it at once: what lies half under the line at the top is no finding.
  await site.page.setViewportSize({ width: 1360, height: 1500 });
  await site.login();
  return site;
}

const row = (page: Page, list: 'Failover' | 'Monitoring', name: string): Locator =>
  page.getByRole('list', { name: list, exact: true }).getByRole('listitem', { name, exact: true });
const dialog = (page: Page, name: string | RegExp): Locator => page.getByRole('dialog', { name });
const button = (within: Page | Locator, name: string): Locator => within.getByRole('button', { name, exact: true });

async function fail(standby: FakeStandby, role: string): Promise<void> {
  standby.set(role, { state: 'failed', since: new Date(Date.now() - 3000).toISOString(), why: 'disconnected', detail: 'connection refused (os error 111)' });
}

describe.each(['dark', 'light'] as const)('%s', (scheme) => {
  it('scans, adds with one login for all, and nothing is in force before Apply', async () => {
    const { fake, standby } = made();
    const site = await opened(fake, scheme);
    const { page } = site;
    await row(page, 'Monitoring', 'NVR-1').getByText('Normal').waitFor();
    await site.accessible();
    await button(page, 'Scan').click();
    const scan = dialog(page, 'Device Scan');
    await button(scan, 'Scan').click();
    await scan.getByText(/5 recorders found/).waitFor();
    await button(scan, 'Stop').click();
    await scan.getByText('Scan ended: 5 recorders found').waitFor();
    // What is watched already, or has another version, cannot be selected, and says why.
    expect(await scan.getByRole('checkbox', { name: 'Select NVR-1' }).isDisabled()).toBe(true);
    expect(await scan.getByRole('checkbox', { name: 'Select old box' }).isDisabled()).toBe(true);
    await scan.getByText('version 0.0.9').waitFor();
    for (const name of ['NVR-3', 'NVR-4', 'NVR-5']) await scan.getByRole('checkbox', { name: `Select ${name}` }).check();
    await site.shot(`failover-scan-${scheme}`);
    await site.accessible();
    await button(scan, 'Add 3').click();
    const login = dialog(page, 'Login: NVR-3');
    await login.getByLabel('Password', { exact: true }).fill('recorder');
    await login.getByLabel('Apply to All Device(s)').check();
    await site.shot(`failover-login-${scheme}`);
    await site.accessible();
    await button(login, 'OK').click();
    await row(page, 'Monitoring', 'NVR-3').getByText('Joins the list with Apply').waitFor();
    expect(await page.getByRole('dialog').count()).toBe(0);
    await row(page, 'Monitoring', 'NVR-2').getByLabel('Pre-buffer of NVR-2').check();
    await row(page, 'Monitoring', 'NVR-2').getByText('takes 128 Mbit/s of the network, all the time, and up to 112 MB of memory').waitFor();
    await row(page, 'Monitoring', 'NVR-2').getByLabel('Priority of NVR-2').fill('5');
    await page.getByLabel('Check Interval').selectOption('2 s');
    await page.getByText('Takes over about 6 s after a recorder is gone, and after 8 s at most.').waitFor();
    await page.getByText('6 changes are not in force yet.').waitFor();
    await site.shot(`failover-draft-${scheme}`);
    await site.accessible();
    expect(standby.did.filter((what) => !what.includes('scans'))).toEqual([]);
    // A look at another page loses nothing.
    await site.go('Cameras');
    await site.go('NVR Failover');
    await button(page, 'Apply').click();
    await page.getByText('NVR-4: on the Monitoring list').waitFor();
    await row(page, 'Monitoring', 'NVR-5').getByText('Refused: SB-2 watches it already').waitFor();
    await row(page, 'Monitoring', 'NVR-3').getByText('Not heard yet').waitFor();
    expect(standby.lists.setup.check_interval_ms).toBe(2000);
    expect(standby.lists.monitoring.find(({ role }) => role === NVR2)).toMatchObject({ prebuffer: true, priority: 5 });
    await site.shot(`failover-applied-${scheme}`);
    await site.accessible();
    await row(page, 'Monitoring', 'NVR-5').getByLabel('Watch it beside the other standby').check();
    await button(page, 'Apply').click();
    await row(page, 'Monitoring', 'NVR-5').getByText('Not heard yet').waitFor();
    expect(await button(page, 'Apply').isDisabled()).toBe(true);
    await site.close();
  });

  it('shows a failover that starts by itself, and gives the role back', async () => {
    const { fake, standby } = made();
    fake.cameras = [{ id: 'gate', name: 'North gate', guest: { role: NVR2, camera: 'gate', duty: 'rest' } }];
    const site = await opened(fake, scheme);
    const { page } = site;
    await page.getByText('No failover runs.').waitFor();
    standby.set(NVR2, { state: 'missed', missed: 2, why: 'late' });
    await row(page, 'Monitoring', 'NVR-2').getByText('missed 2 of 3').waitFor();
    await fail(standby, NVR2);
    await page.getByRole('link', { name: 'Failed, and not covered: NVR-2' }).waitFor();
    await row(page, 'Monitoring', 'NVR-2').getByText('connection refused').waitFor();
    standby.begin(NVR2, 'threshold');
    standby.setRunning(NVR2, { recorded: 30 });
    const covered = row(page, 'Failover', 'NVR-2');
    await covered.getByText('30 of 32 cameras on disk here').waitFor();
    await covered.getByText('It began by itself.').waitFor();
    standby.setRunning(NVR2, { claim: 'incomplete', lacks: ['gate', 'dock'] });
    await covered.getByText('Not recorded here: gate, dock.').waitFor();
    await covered.getByText('a standby that records all of them takes the cover').waitFor();
    standby.setRunning(NVR2, { claim: 'held', lacks: [] });
    await covered.getByText('Not recorded here').waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'Standby covers NVR-2' }).waitFor();
    expect(await button(covered, 'Failback: NVR-2').isDisabled()).toBe(true);
    expect(await page.getByLabel('Mode of NVR-2').isDisabled()).toBe(true);
    await page.getByText('missing in between: 1.2 s at most').click();
    await page.getByRole('cell', { name: '1.2 s' }).waitFor();
    await site.shot(`failover-runs-${scheme}`);
    await site.accessible();
    standby.set(NVR2, { state: 'normal', since: null, why: null, detail: null });
    standby.setRunning(NVR2, { normal: true });
    await covered.getByText('The recorder answers again').waitFor();
    await button(covered, 'Failback: NVR-2').click();
    const confirm = dialog(page, 'Failback to NVR-2?');
    await confirm.getByText('No gap: both record until NVR-2 holds footage on disk').waitFor();
    await site.shot(`failback-${scheme}`);
    await site.accessible();
    await button(confirm, 'Failback').click();
    await covered.getByText('Failback is under way').waitFor();
    standby.end(NVR2, 'failed_back');
    await page.getByText('No failover runs.').waitFor();
    await page.getByText('given back to the repaired recorder').waitFor();
    expect(standby.did).toEqual([`POST primaries/${NVR2}/failback`]);
    await site.close();
  });

  it('says what a standby is where nothing is watched, and what is wrong where none runs', async () => {
    const fake = new FakeNode();
    fake.watch([]);
    const site = await opened(fake, scheme);
    const { page } = site;
    await page.getByText('This node watches no other recorder').waitFor();
    await page.getByText('cameras_max = 64').waitFor();
    await site.shot(`failover-intro-${scheme}`);
    await site.accessible();
    await site.close();

    const other = await opened(new FakeNode(), scheme);
    await other.page.getByText('The standby of this node does not run').waitFor();
    await other.accessible();
    await other.close();

    const guest = new FakeNode();
    Object.assign(guest, { role: null, at: { gate: 'viewer' } });
    const third = await opened(guest, scheme);
    await third.page.getByText('Failovers are shown to users who have a role everywhere.').waitFor();
    await third.close();
  });
});

it('the whole walk by keyboard: Scan, Add, Login, Apply, Failover, Stop, and off the list', async () => {
  const { fake, standby } = made();
  standby.around = [found('NVR-3', 13)];
  standby.endless = false;
  const site = await opened(fake);
  const { page } = site;
  await row(page, 'Monitoring', 'NVR-1').waitFor();
  const press = async (name: string, within: Page | Locator = page): Promise<void> => {
    await tabTo(page, button(within, name));
    await page.keyboard.press('Enter');
  };
  await press('Scan');
  const scan = dialog(page, 'Device Scan');
  await press('Scan', scan);
  await scan.getByText('Scan ended: 1 recorder found').waitFor();
  await tabTo(page, scan.getByRole('checkbox', { name: 'Select NVR-3' }));
  await page.keyboard.press('Space');
  await press('Add 1', scan);
  const login = dialog(page, 'Login: NVR-3');
  await tabTo(page, login.getByLabel('Password', { exact: true }));
  await page.keyboard.type('recorder');
  await page.keyboard.press('Enter');
  await press('Apply');
  await page.getByText('NVR-3: on the Monitoring list').waitFor();

  await fail(standby, NVR1);
  await press('Failover: NVR-1');
  await press('Failover', dialog(page, 'Start the failover of NVR-1?'));
  await row(page, 'Failover', 'NVR-1').getByText('An operator started it.').waitFor();
  // Escape asks for nothing.
  await press('Stop: NVR-1');
  await dialog(page, 'Stop the failover of NVR-1?').waitFor();
  await page.keyboard.press('Escape');
  await dialog(page, 'Stop the failover of NVR-1?').waitFor({ state: 'detached' });
  expect(standby.lists.failovers.length).toBe(1);
  await press('Stop: NVR-1');
  await press('Stop', dialog(page, 'Stop the failover of NVR-1?'));
  await page.getByText('No failover runs.').waitFor();
  await expect.poll(() => page.getByLabel('Mode of NVR-1').inputValue()).toBe('manual');
  await row(page, 'Monitoring', 'NVR-1').getByText('Mode Manual').waitFor();

  await press('Take NVR-2 off the Monitoring list');
  await press('OK', dialog(page, 'Take NVR-2 off the Monitoring list?'));
  await row(page, 'Monitoring', 'NVR-2').getByText('Leaves the list with Apply.').waitFor();
  expect(standby.lists.monitoring.some(({ role }) => role === NVR2)).toBe(true);
  await press('Apply');
  await page.getByText('NVR-2: off the Monitoring list').waitFor();
  expect(await row(page, 'Monitoring', 'NVR-2').count()).toBe(0);
  await site.close();
});

it('no single key commands anything', async () => {
  const { fake, standby } = made();
  const site = await opened(fake);
  const { page } = site;
  await fail(standby, NVR1);
  await row(page, 'Monitoring', 'NVR-1').getByText(/^!Failed$/).waitFor();
  await page.locator('#content').focus();
  for (const key of 'abcdefghijklmnopqrstuvwxyzFSBRX123456789 ') await page.keyboard.press(key === ' ' ? 'Space' : key);
  expect(await page.getByRole('dialog').count()).toBe(0);
  expect(standby.did).toEqual([]);
  await page.keyboard.press('Alt+1');
  await page.waitForURL(/#\/live/);
  await page.keyboard.press('Alt+5');
  await page.waitForURL(/#\/failover/);
  await site.close();
});

it('says in words what was refused, and keeps it to be tried again', async () => {
  const { fake, standby } = made();
  const site = await opened(fake);
  const { page } = site;
  await fail(standby, NVR1);
  await fail(standby, NVR2);
  standby.begin(NVR2, 'threshold');
  standby.set(NVR1, { waits: true });
  await row(page, 'Monitoring', 'NVR-1').getByText('Its failover is due and waits').waitFor();
  await button(page, 'Failover: NVR-1').click();
  const start = dialog(page, 'Start the failover of NVR-1?');
  await button(start, 'Failover').click();
  await start.getByText('This standby can record no more cameras; Stop another failover first.').waitFor();
  site.visit.provoked(/409/);
  await button(start, 'Cancel').click();
  // A stop lets the next one begin: that is said before.
  await button(page, 'Stop: NVR-2').click();
  await dialog(page, 'Stop the failover of NVR-2?').getByText('Then the failover of NVR-1 begins by itself').waitFor();
  // It ended by itself while one read.
  standby.end(NVR2, 'never_failed');
  await button(dialog(page, 'Stop the failover of NVR-2?'), 'Stop').click();
  await page.getByText('No failover of it is running.').waitFor();
  site.visit.provoked(/409/);
  await page.keyboard.press('Escape');

  await button(page, 'Scan').click();
  const scan = dialog(page, 'Device Scan');
  await scan.getByLabel('Or enter an address').fill('192.0.2.13:8443');
  await button(scan, 'Put on the list').click();
  await scan.getByLabel('Or enter an address').fill('192.0.2.99');
  await page.keyboard.press('Enter');
  await button(scan, 'Add 2').click();
  await dialog(page, /Login/).getByLabel('Password', { exact: true }).fill('wrong');
  await button(dialog(page, /Login/), 'OK').click();
  await dialog(page, 'Login: 192.0.2.99').getByLabel('Password', { exact: true }).fill('recorder');
  await button(dialog(page, /Login/), 'OK').click();
  await button(page, 'Apply').click();
  await row(page, 'Monitoring', '192.0.2.13:8443').getByText('Refused: the recorder refused the login').waitFor();
  await row(page, 'Monitoring', '192.0.2.99').getByText('Refused: nothing answers at 192.0.2.99').waitFor();
  await button(page, 'Login: 192.0.2.13:8443').click();
  await dialog(page, /Login/).getByLabel('Token that works once').check();
  await dialog(page, /Login/).getByLabel('Token', { exact: true }).fill('kwp_once');
  await button(dialog(page, /Login/), 'OK').click();
  await button(page, 'Apply').click();
  await row(page, 'Monitoring', 'NVR-3').getByText('Not heard yet').waitFor();
  await page.getByText('1 change is not in force yet.').waitFor();
  await button(page, 'Discard').click();
  expect(await row(page, 'Monitoring', '192.0.2.99').count()).toBe(0);
  await site.close();
});

it('replaces a failed recorder by one that a scan found', async () => {
  const { fake, standby } = made();
  const site = await opened(fake);
  const { page } = site;
  await fail(standby, NVR2);
  standby.begin(NVR2, 'threshold');
  await button(page, 'Setup backups of NVR-2').click();
  await page.getByRole('cell', { name: '31' }).waitFor();
  await button(page, 'Close').click();
  await button(row(page, 'Failover', 'NVR-2'), 'Replace: NVR-2').click();
  const scan = dialog(page, /a recorder to replace NVR-2/);
  await button(scan, 'Scan').click();
  await scan.getByText(/5 recorders found/).waitFor();
  await scan.getByRole('radio', { name: 'Select NVR-3' }).check();
  await scan.getByRole('radio', { name: 'Select NVR-4' }).check();
  await site.accessible();
  await button(scan, 'Add the selected').click();
  await dialog(page, 'Login: NVR-4').getByLabel('Password', { exact: true }).fill('recorder');
  await button(dialog(page, 'Login: NVR-4'), 'OK').click();
  const confirm = dialog(page, 'Replace NVR-2 by NVR-4?');
  const given = confirm.getByLabel('Backup that it gets');
  expect(await given.locator('option:checked').textContent()).toMatch(/^No\. 7 .*32 cameras \(the newest\)$/);
  await given.selectOption('6');
  await site.shot('failover-replace');
  await site.accessible();
  expect(standby.did.filter((what) => what.includes('replace'))).toEqual([]);
  await button(confirm, 'Replace').click();
  await row(page, 'Monitoring', 'NVR-4').waitFor();
  await page.getByText('replaced by another recorder').waitFor();
  expect(standby.did.filter((what) => what.includes('replace')).map((what) => JSON.parse(what.slice(what.indexOf('{'))).backup)).toEqual([6]);
  // A scan whose window was closed does not go on.
  await expect.poll(() => standby.did).toContain('DELETE scans/scan1');
  await site.close();
});

it('backups of a primary: what is in one, and what differs between two, by keyboard alone', async () => {
  const { fake, standby } = made();
  const site = await opened(fake);
  const { page } = site;
  const press = async (name: string, within: Page | Locator = page): Promise<void> => {
    await tabTo(page, button(within, name));
    await page.keyboard.press('Enter');
  };
  await row(page, 'Monitoring', 'NVR-2').waitFor();
  await press('Setup backups of NVR-2');
  const backups = dialog(page, 'Setup backups of NVR-2');
  await press('Show what is in backup no. 6', backups);
  await backups.getByRole('heading', { name: 'In backup no. 6' }).waitFor();
  await backups.getByText('Of NVR-2, version 0.1.0. Footage is kept for 30 days. May watch over RTSP: guard.').waitFor();
  await backups.getByRole('row', { name: 'gate name, url, user, password' }).waitFor();
  await site.shot('failover-backup');
  await site.accessible();
  // The newest and the one before it are what is most asked for.
  await press('Compare', backups);
  await backups.getByRole('heading', { name: 'What changed from no. 6 to no. 7' }).waitFor();
  for (const text of ['+ yard: camera added', '− shop: camera removed', '~ gate: camera changed: url, password', '~ Beside the cameras: users']) {
    await backups.getByRole('listitem').filter({ hasText: text }).waitFor();
  }
  await site.shot('failover-backups');
  await site.accessible();
  // In whichever order they are chosen, the later one is compared with the earlier one.
  standby.changes = { added: [], removed: [], changed: [], settings: [] };
  await backups.getByLabel('Compare no.').selectOption('7');
  expect(await button(backups, 'Compare').isDisabled()).toBe(true);
  await backups.getByLabel('with no.').selectOption('6');
  await press('Compare', backups);
  await backups.getByText('No. 6 and no. 7 would restore the same.').waitFor();
  standby.backups = [];
  await press('Show what is in backup no. 7', backups);
  await backups.getByText('There is no backup 7 of it.').waitFor();
  site.visit.provoked(/404/);
  await press('Close', backups);
  await button(page, 'Setup backups of NVR-2').waitFor();
  expect(standby.did).toEqual([]);
  await site.close();
});

it('says when the next drill is due, or that drills are begun by hand', async () => {
  const { fake, standby } = made();
  const at = Date.now() - 2 * 86_400_000;
  standby.set(NVR1, { tested: { at: new Date(at).toISOString(), passed: true, detail: null, cameras: 32, failed: [] } });
  const site = await opened(fake);
  const { page } = site;
  await page.getByText('Drill: begun by hand only').waitFor();
  expect(await row(page, 'Monitoring', 'NVR-1').getByText(/^next: /).count()).toBe(0);
  standby.lists = { ...standby.lists, drill_every_s: 604_800 };
  standby.set(NVR2, { tested: null });
  await page.getByText('every recorder is tested every 7 days by itself').waitFor();
  await row(page, 'Monitoring', 'NVR-1').getByText(/^next: \d/).waitFor();
  await row(page, 'Monitoring', 'NVR-2').getByText('due by the schedule').waitFor();
  await site.shot('failover-drills');
  await site.accessible();
  await site.close();
});

it('a drill is asked for, runs, and says when it was and what failed', async () => {
  const { fake, standby } = made();
  const site = await opened(fake);
  const { page } = site;
  const watched = row(page, 'Monitoring', 'NVR-1');
  await watched.getByText('never tested').waitFor();
  await button(watched, 'Drill: NVR-1').click();
  await dialog(page, /try the failover of NVR-1/).getByText('NVR-1 goes on recording').waitFor();
  await button(dialog(page, /NVR-1/), 'Drill').click();
  await watched.getByText('runs', { exact: true }).waitFor();
  expect(await button(watched, 'Drill: NVR-1').isDisabled()).toBe(true);
  standby.set(NVR1, { drilling: false, tested: { at: new Date().toISOString(), passed: false, detail: 'no record of gate came to the disk', cameras: 32, failed: ['gate'] } });
  await watched.getByText(/not passed, .*: no record of gate came to the disk/).waitFor();
  standby.set(NVR1, { tested: { at: new Date().toISOString(), passed: true, detail: null, cameras: 32, failed: [] } });
  await watched.getByText(/^passed, /).waitFor();
  await site.accessible();
  expect(standby.did).toEqual([`POST primaries/${NVR1}/drill`]);
  await site.close();
});

it('a viewer may look, and is told what the buttons need', async () => {
  const { fake, standby } = made();
  fake.role = 'viewer';
  await fail(standby, NVR2);
  standby.begin(NVR2, 'threshold');
  standby.setRunning(NVR2, { normal: true });
  const site = await opened(fake);
  const { page } = site;
  await page.getByText('Failover, Stop and Failback need the role Supervisor').waitFor();
  for (const name of ['Scan', 'Failback: NVR-2', 'Stop: NVR-2', 'Replace: NVR-2', 'Take NVR-1 off the Monitoring list', 'Apply', 'Drill: NVR-1', 'Setup backups of NVR-1']) {
    expect(await button(page, name).isDisabled(), name).toBe(true);
  }
  for (const name of ['Mode of NVR-1', 'Priority of NVR-1', 'Pre-buffer of NVR-1', 'Check Interval']) expect(await page.getByLabel(name).isDisabled(), name).toBe(true);
  expect(await button(page, 'Stop: NVR-2').getAttribute('title')).toBe('This needs the role Supervisor.');
  await page.getByText('missing in between').first().waitFor();
  await site.accessible();
  await site.close();
});

it('fits a narrow screen, and is used there', async () => {
  const { fake, standby } = made();
  await fail(standby, NVR2);
  standby.begin(NVR2, 'threshold');
  const site = await opened(fake);
  const { page } = site;
  await page.setViewportSize({ width: 360, height: 740 });
  await row(page, 'Failover', 'NVR-2').waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(wide).toBe(0);
  await site.shot('failover-narrow');
  await site.accessible();
  await button(page, 'Stop: NVR-2').click();
  await site.shot('failover-narrow-stop');
  await button(dialog(page, /Stop/), 'Stop').click();
  await page.getByText('No failover runs.').waitFor();
  await site.close();
});

it('a veil lies over lists that may no longer be so', async () => {
  const { fake } = made();
  const site = await opened(fake);
  const { page } = site;
  await row(page, 'Monitoring', 'NVR-1').waitFor();
  fake.silent = true;
  await page.locator('main.veil').waitFor({ timeout: 10_000 });
  fake.silent = false;
  await page.locator('main:not(.veil)').waitFor({ timeout: 15_000 });
  site.complaints = site.complaints.filter((text) => !text.includes('WebSocket'));
  await site.close();
});

it('a covered camera has its sign on its tile, one at rest has none, and the timeline names who recorded in whose place', async () => {
  const { fake, standby } = made();
  const now = Math.floor(Date.now() / 1000) * 1000;
  fake.cameras = [
    { id: 'gate', name: 'North gate', guest: { role: NVR2, camera: 'gate', duty: 'record' } },
    { id: 'dock', name: 'Dock 2', guest: { role: NVR1, camera: 'dock', duty: 'buffer' } },
  ];
  fake.gaps = [{ camera: 'gate', from: now - 36_000_000, to: now - 18_000_000, state: 'held', reason: null, origin: 'standby', recorder: 'role-here', replaces: NVR2 }];
  await fail(standby, NVR2);
  standby.begin(NVR2, 'threshold');
  const site = await opened(fake, 'dark', '#/live');
  const { page } = site;
  await page.getByRole('article', { name: 'North gate' }).getByText('Standby: recorded here in the place of NVR-2').waitFor();
  expect(await page.getByRole('article').count()).toBe(1);
  await page.getByText('Recording 1 of 1').waitFor();
  await site.accessible();
  await site.shot('failover-tile');
  await site.go('Timeline');
  const box = page.getByRole('slider', { name: 'Time and camera' });
  const frame = await box.boundingBox();
  // The cameras stand by their names: Dock 2, North gate.
  await page.mouse.move((frame?.x ?? 0) + (frame?.width ?? 0) * 0.6, (frame?.y ?? 0) + 26 + 26 * 1.5);
  await page.locator('[data-tip]').getByText('Standby recorder: north gate in the place of NVR-2').waitFor();
  await site.shot('failover-timeline');
  await site.close();
});

/** Moves the focus with the Tab key, as somebody without a mouse does. */
async function tabTo(page: Page, target: Locator): Promise<void> {
  await target.waitFor();
  const element = await target.elementHandle();
  for (let presses = 0; presses < 80; presses += 1) {
    if (await page.evaluate((wanted) => document.activeElement === wanted, element)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error('the focus never comes there');
}
