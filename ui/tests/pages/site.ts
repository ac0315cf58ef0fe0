/** A browser before a made-up node. */

import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { type Scheme, Visit } from '../browser';
import type { FakeNode } from './fake';

const SHOTS = new URL('../../shots/', import.meta.url);

/** A page and its node. */
export class Site {
  private constructor(
    readonly node: FakeNode,
    readonly visit: Visit,
  ) {}

  static async open(browser: Browser, node: FakeNode, scheme: Scheme = 'dark', hash = ''): Promise<Site> {
    const address = await node.listen();
    const visit = await Visit.open(browser, address, { colorScheme: scheme, timezoneId: 'Europe/Berlin' });
    await visit.page.goto(address + hash);
    return new Site(node, visit);
  }

  get page(): Page {
    return this.visit.page;
  }

  get address(): string {
    return this.visit.address;
  }

  get complaints(): string[] {
    return this.visit.complaints;
  }

  set complaints(left: string[]) {
    this.visit.complaints = left;
  }

  /** Logs in by the form. */
  async login(): Promise<void> {
    await this.page.getByLabel('User').fill('admin');
    await this.page.getByLabel('Password').fill('correct horse battery');
    await this.page.getByRole('button', { name: 'Log in' }).click();
    await this.page.getByRole('navigation').waitFor();
  }

  go(name: string): Promise<void> {
    return this.visit.go(name);
  }

  shot(name: string): Promise<void> {
    return this.visit.shot(fileURLToPath(new URL(`${name}.png`, SHOTS)));
  }

  accessible(): Promise<void> {
    return this.visit.accessible();
  }

  /** Ends it; a page that complained fails. */
  async close(): Promise<void> {
    try {
      await this.visit.close();
    } finally {
      await this.visit.context.close();
      this.node.close();
    }
  }
}
