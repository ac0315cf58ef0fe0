/** The first minutes with the real program, as the guide describes them: link, password, Scan, Add, live pictures. */

import { createHash } from 'node:crypto';
import { connect } from 'node:tls';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launch, Visit } from '../browser';
import { counters } from './counter';
import { look } from './look';
import { Cameras, Node, ownAddress, Place, until } from './program';

const PASSWORD = 'a password for a test';

let browser: Browser;
let place: Place;
let node: Node;
beforeAll(async () => {
  place = new Place();
  [browser, node] = await Promise.all([launch(), Node.start(place)]);
});
afterAll(async () => {
  await browser.close();
  await place.close();
});

/** The fingerprint of the certificate that is shown at an address. */
function fingerprint(address: string): Promise<string> {
  const { hostname: host, port } = new URL(address);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(`sha256:${createHash('sha256').update(socket.getPeerCertificate().raw).digest('hex')}`);
      socket.end();
    });
    socket.on('error', reject);
  });
}

it('the printed link, a password, Scan and Add lead to live pictures, and the link is of no use afterwards', async () => {
  // Cameras have addresses of their own, and answer at the port at which cameras are looked for.
  const addresses = [ownAddress(), ownAddress()];
  place.write('cameras.password', 'of the cameras\n');
  const cameras = addresses.map((address) => Cameras.start(
    place, '--listen', `${address}:0`, '--onvif', `${address}:0`, '--discovery', `${address}:3702`, '--fps', '12', '--gop', '24',
    '--user', 'service', '--password-file', 'cameras.password',
  ));
  await Promise.all(cameras);

  const [, link = ''] = await node.program.said(/^ {2}(https:\S+\/#\/setup\/\S+)$/m);
  const [printed] = await node.program.said(/sha256:[0-9a-f]{64}/);
  expect(await fingerprint(node.address), 'the certificate is the one whose fingerprint is printed').toBe(printed);

  const visit = await Visit.open(browser, node.address, { ignoreHTTPSErrors: true, timezoneId: 'UTC', viewport: { width: 1100, height: 690 } });
  const { page } = visit;
  await page.goto(link);
  await page.getByLabel('New password').waitFor();
  expect(await page.getByLabel('Code').inputValue(), 'the link fills in the code').not.toBe('');
  await look(visit, 'first-run');
  await page.getByLabel('New password').fill(PASSWORD);
  await page.getByLabel('The same password again').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
  expect(page.url(), 'the code does not stay in the address').not.toContain('setup');
  await page.getByText('No camera is configured yet.').waitFor();
  await look(visit);

  await page.getByRole('link', { name: 'Find and add cameras' }).click();
  await page.getByLabel('Only these addresses').fill(addresses.join(' '));
  await page.getByRole('button', { name: 'Scan', exact: true }).click();
  const boxes = page.getByRole('checkbox', { name: /^Choose / });
  await until('two cameras', async () => ((await boxes.count()) === 2 ? true : undefined));
  await page.getByText('Scan ended: 2 cameras found').waitFor({ timeout: 20_000 });
  for (const box of await boxes.all()) await box.check();
  await look(visit, 'scan');
  await page.getByRole('button', { name: 'Add 2' }).click();
  await page.getByLabel('User').fill('service');
  await page.getByLabel('Password').fill('not that one');
  await page.getByRole('button', { name: 'OK' }).click();
  await page.getByRole('dialog').getByRole('alert').waitFor();
  visit.provoked(/422/);
  await page.getByLabel('Password').fill('of the cameras');
  await page.getByLabel('Apply to All Device(s)').check();
  await look(visit, 'scan-login');
  await page.getByRole('button', { name: 'OK' }).click();
  await page.getByText('Recording 2 of 2').waitFor({ timeout: 20_000 });
  await look(visit);

  await visit.go('Live');
  const first = await until('two pictures', async () => {
    const seen = await counters(page);
    return seen.length === 2 && seen.every((counter) => counter !== null) ? (seen as number[]) : undefined;
  });
  await until('pictures that go on', async () => {
    const seen = await counters(page);
    return seen.every((counter, n) => counter !== null && counter > (first[n] ?? 0) + 12) ? true : undefined;
  });

  // Somebody finds the link in a log.
  const other = await Visit.open(browser, node.address, { ignoreHTTPSErrors: true });
  await other.page.goto(link);
  await other.page.getByRole('button', { name: 'Log in' }).waitFor();
  expect(other.page.url()).not.toContain('setup');
  const refused = await other.context.request.post(`${node.address}api/v1/setup`, { data: { code: link.split('/').at(-1), password: PASSWORD } });
  expect(refused.status()).toBe(410);
  await other.close();
  await visit.close();
});
