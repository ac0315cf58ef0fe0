/** Looks at a page in dark and in light: that everybody can use it, and, when pictures are asked for, how it looks. */

import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { shrink, type Visit } from '../browser';

/** Folder of the pictures for the guide; they are made for `cargo xtask screenshots` only, as no two are the same. */
const FOLDER = process.env['KEEPWATCH_SCREENSHOTS'];

/** Runs axe over the page as it is, in dark and in light; with `name` it is a picture of the guide, too. */
export async function look(visit: Visit, name?: string): Promise<void> {
  for (const scheme of ['light', 'dark'] as const) {
    await visit.page.emulateMedia({ colorScheme: scheme });
    await visit.accessible();
    if (FOLDER === undefined || name === undefined) continue;
    mkdirSync(FOLDER, { recursive: true });
    const large = join(tmpdir(), `keepwatch-${process.pid}.png`);
    await visit.shot(large);
    shrink(large, join(FOLDER, `${name}-${scheme}.png`));
    rmSync(large);
  }
}
