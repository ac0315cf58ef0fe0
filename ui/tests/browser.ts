/** A page in a real browser, and what must hold of every page whatever node is behind it. */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';

export type Scheme = 'dark' | 'light';

/** What axe finds on a page that is not allowed to be there. */
interface AxeResults {
  violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[];
}

/** A page, and what it complained of: errors, what its policy refused, requests to others. */
export class Visit {
  complaints: string[] = [];

  private constructor(
    readonly page: Page,
    readonly context: BrowserContext,
    /** Address of the node, with a slash at its end. */
    readonly address: string,
  ) {}

  static async open(browser: Browser, address: string, options: BrowserContextOptions & { colorScheme?: Scheme } = {}): Promise<Visit> {
    const context = await browser.newContext({
      colorScheme: 'dark', viewport: { width: 1360, height: 860 }, locale: 'en-GB', reducedMotion: 'reduce', ...options,
    });
    return Visit.within(context, address);
  }

  /** Another tab of the same browser window, with its session. */
  static async within(context: BrowserContext, address: string): Promise<Visit> {
    const page = await context.newPage();
    // Below that of a test, so that the step is named which did not come.
    page.setDefaultTimeout(10_000);
    const visit = new Visit(page, context, address);
    visit.#listen();
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        console.error(`the policy refused ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    return visit;
  }

  #listen(): void {
    const { page } = this;
    const own = [this.address, this.address.replace('http', 'ws'), 'blob:', 'data:'];
    const look = (url: string): void => {
      if (!own.some((begin) => url.startsWith(begin))) this.complaints.push(`a request to ${url}`);
    };
    page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      this.complaints.push(`${message.text()} ${message.location().url}`.trim());
    });
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('request', (request) => look(request.url()));
    page.on('websocket', (socket) => look(socket.url()));
  }

  go(name: string): Promise<void> {
    return this.page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
  }

  /** Takes back complaints that the test itself provoked, and no others; there must be one. */
  provoked(pattern: RegExp): void {
    expect(this.complaints.filter((text) => pattern.test(text)), 'what the test provoked').not.toEqual([]);
    this.complaints = this.complaints.filter((text) => !pattern.test(text));
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

  /** Takes a picture of the page into the file `path`. */
  async shot(path: string): Promise<void> {
    mkdirSync(dirname(path), { recursive: true });
    await this.page.screenshot({ path });
  }

  /** Ends the page; one that complained fails. */
  async close(): Promise<void> {
    await this.page.close();
    expect(this.complaints).toEqual([]);
  }
}

/** Writes a picture with 128 colours, a third of the size, which is enough for a page. */
export function shrink(path: string, smaller: string): void {
  const palette = 'split[a][b];[a]palettegen=max_colors=128:stats_mode=full[p];[b][p]paletteuse=dither=none';
  const made = spawnSync('ffmpeg', ['-v', 'error', '-y', '-i', path, '-vf', palette, '-frames:v', '1', smaller], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`ffmpeg: ${made.stderr}`);
}

/** The browser of the system. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}
