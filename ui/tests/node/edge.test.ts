/** An edge node and its recorder, both real: token, register, footage that arrives, a recorder that is away, and its return. */

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launch, Visit } from '../browser';
import { look } from './look';
import { Cameras, Node, Place, until } from './program';

const PASSWORD = 'a password for a test';
/** A minute and more would be long for a test. */
const EDGE = '[edge]\ndelay = "2 s"\ndelay_max = "8 s"\nspeed = 400\n';

let browser: Browser;
let places: Place[];
let box: Node;
let center: Node;

beforeAll(async () => {
  places = [new Place(), new Place(), new Place()];
  const [cameras, beside, behind] = places as [Place, Place, Place];
  const [launched, quay] = await Promise.all([launch(), Cameras.start(cameras, '--count', '1', '--fps', '10', '--gop', '10', '--bitrate', '300000')]);
  browser = launched;
  const listed = [{ id: 'cam1', name: 'Quay', url: quay.url('cam1') }];
  [box, center] = await Promise.all([
    Node.start(beside, { name: 'box', cameras: listed, password: PASSWORD, more: EDGE }), Node.start(behind, { name: 'center', password: PASSWORD }),
  ]);
});
afterAll(async () => {
  await browser.close();
  await Promise.all(places.map((place) => place.close()));
});

/** Opens the page Edge of a node as its administrator, in a window as high as what matters of it. */
async function opened(node: Node, height: number): Promise<Visit> {
  const visit = await Visit.open(browser, node.address, { ignoreHTTPSErrors: true, timezoneId: 'UTC', viewport: { width: 1100, height } });
  const { page } = visit;
  await page.goto(`${node.address}#/edge`);
  await page.getByLabel('User').fill('admin');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
  return visit;
}

it('a camera beside an edge node is recorded there, shown at the recorder, and whole after the recorder was away', async () => {
  const behind = await opened(center, 520);
  await behind.page.getByText('No edge node sends to this recorder.').waitFor();
  await behind.page.getByRole('button', { name: 'Make a token' }).click();
  const token = (await behind.page.getByRole('dialog').locator('code').textContent()) ?? '';
  await behind.page.getByRole('button', { name: 'Close' }).click();
  await behind.go('Cameras');
  await behind.page.getByRole('button', { name: 'Add by address' }).click();
  const form = behind.page.getByRole('dialog');
  await form.getByLabel(/^Id/).fill('quay');
  await form.getByLabel('Name').fill('Quay');
  await form.getByLabel('Reached by').selectOption('Edge node');
  await form.getByRole('textbox', { name: /^Edge node/ }).fill('box/cam1');
  await form.getByRole('button', { name: 'Add' }).click();
  await behind.page.getByRole('cell', { name: 'quay', exact: true }).waitFor();

  const beside = await opened(box, 1000);
  await beside.page.getByText('This node sends its footage nowhere').waitFor();
  await look(beside);
  await beside.page.getByRole('button', { name: 'Send to a recorder' }).click();
  await beside.page.getByLabel('Address of the recorder').fill(new URL(center.address).host);
  await beside.page.getByLabel('Token', { exact: true }).fill(token);
  await beside.page.keyboard.press('Enter');
  await beside.page.getByText('Case 0', { exact: true }).waitFor();
  await beside.page.getByRole('row', { name: /^Quay Keeps up/ }).waitFor({ timeout: 30_000 });

  await behind.go('Edge');
  const node = behind.page.getByRole('listitem', { name: 'box' });
  await node.getByText('Sends', { exact: true }).waitFor();
  await node.getByRole('row', { name: /^Quay Relayed by its edge node/ }).waitFor({ timeout: 30_000 });
  // Not here yet is what is on its way, and not the time before the camera was known.
  await node.getByRole('row', { name: /old \d{1,2}(\.\d)? s$/ }).waitFor();
  await look(behind, 'edge-nodes');

  center.program.hang(true);
  await beside.page.getByText('Case 1', { exact: true }).waitFor({ timeout: 60_000 });
  await beside.page.getByText(/^!?Away since/).waitFor();
  await beside.page.getByRole('banner').getByRole('link', { name: 'Edge: case 1' }).waitFor();
  await look(beside, 'edge');
  const cut = Date.now();
  await until('a while without the recorder', async () => (Date.now() - cut > 8_000 ? true : undefined));
  center.program.hang(false);
  await beside.page.getByText('Case 0', { exact: true }).waitFor({ timeout: 60_000 });
  await beside.page.getByRole('row', { name: /^Quay Keeps up/ }).waitFor({ timeout: 60_000 });

  // The recorder has all of it, as the edge node's.
  const to = cut + 8_000;
  const held = await until('what was recorded meanwhile', async () => {
    const answer = await behind.context.request.get(`${center.address}api/v1/cameras/quay/coverage?from=${new Date(cut - 5_000).toISOString()}&to=${new Date(to).toISOString()}`);
    const { items } = (await answer.json()) as { items: { state: string; origin: string | null }[] };
    return items.length > 0 && items.every(({ state }) => state === 'held') ? items : undefined;
  }, 60_000);
  expect(new Set(held.map(({ origin }) => origin))).toEqual(new Set(['edge']));
  await beside.close();
  // A page of a recorder that stood still has lost its socket, and says so.
  behind.complaints = behind.complaints.filter((text) => !/WebSocket|ERR_/.test(text));
  await behind.close();
}, 240_000);
