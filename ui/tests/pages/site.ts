/** A browser before a made-up node, and what must hold on every page. */

import { readFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { FakeNode } from './fake';

const SHOTS = new URL('../../shots/', import.meta.url);

/** What axe finds on a page that is not allowed to be there. */
interface AxeResults {
  violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[];
}

/** A page, its node, and what it complained of. */
export class Site {
  complaints: string[] = [];

  private constructor(
    readonly node: FakeNode,
    readonly address: string,
    readonly page: Page,
    private readonly context: BrowserContext,
  ) {}

  static async open(browser: Browser, node: FakeNode, scheme: 'dark' | 'light' = 'dark', hash = ''): Promise<Site> {
    const address = await node.listen();
    const context = await browser.newContext({
      colorScheme: scheme, viewport: { width: 1360, height: 860 }, locale: 'en-GB', timezoneId: 'Europe/Berlin', reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    // Below that of a test, so that the step is named which did not come.
    page.setDefaultTimeout(10_000);
    const site = new Site(node, address, page, context);
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') site.complaints.push(message.text());
    });
    page.on('pageerror', (error) => site.complaints.push(String(error)));
    page.on('request', (request) => {
      if (!request.url().startsWith(address) && !request.url().startsWith('blob:') && !request.url().startsWith('data:')) {
        site.complaints.push(`a request to ${request.url()}`);
      }
    });
    await page.goto(address + hash);
    return site;
  }

  /** Logs in by the form. */
  async login(): Promise<void> {
    await this.page.getByLabel('User').fill('admin');
    await this.page.getByLabel('Password').fill('correct horse battery');
    await this.page.getByRole('button', { name: 'Log in' }).click();
    await this.page.getByRole('navigation').waitFor();
    // The answer that one is not logged in yet is an error to the browser's console, and the only one allowed.
    this.complaints = this.complaints.filter((text) => !text.includes('401'));
  }

  go(name: string): Promise<void> {
    return this.page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
  }

  async shot(name: string): Promise<void> {
    mkdirSync(SHOTS, { recursive: true });
    await this.page.screenshot({ path: new URL(`${name}.png`, SHOTS).pathname });
  }

  /** Runs axe over the page as it is: WCAG 2.2 A and AA. */
  async accessible(): Promise<void> {
    const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    // Not as a script of the page: its policy would refuse that, as it should.
    await this.page.evaluate(axe);
    const results = await this.page.evaluate<AxeResults>(
      "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })",
    );
    expect(results.violations.map(({ id, nodes }) => `${id}: ${nodes.map((n) => `${n.html} ${n.failureSummary ?? ''}`).join(' | ')}`)).toEqual([]);
  }

  /** Ends it; a page that complained fails. */
  async close(): Promise<void> {
    await this.context.close();
    this.node.close();
    expect(this.complaints).toEqual([]);
  }
}

/** The browser of the system. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}
