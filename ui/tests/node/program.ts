/** The real program in a temporary directory: a node, and virtual cameras beside it. Ports are 0. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** What is tested. */
const PROGRAM = process.env['KEEPWATCH_BIN'] ?? new URL('../../../target/release/keepwatch', import.meta.url).pathname;

/** How long a program may take to say something, or to end, on a busy machine. */
const PATIENCE_MS = 20_000;

/** A directory for one run of tests, and what runs in it. */
export class Place {
  readonly path = mkdtempSync(join(tmpdir(), 'keepwatch-console-'));
  #programs: Program[] = [];

  /** Starts the program, to be ended with the place. */
  start(args: string[], env: Record<string, string> = {}): Program {
    const program = new Program(args, this.path, env);
    this.#programs.push(program);
    return program;
  }

  /** Runs a command of the program to its end, and returns what it printed. */
  async run(...args: string[]): Promise<string> {
    return (await promisify(execFile)(PROGRAM, args, { cwd: this.path, timeout: PATIENCE_MS })).stdout;
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.path, name), text, { mode: 0o600 });
  }

  /** Ends all programs and removes the directory. */
  async close(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.end()));
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A running program. */
export class Program {
  /** All that it wrote to standard error. */
  log = '';
  #lines: string[] = [];
  #child: ChildProcess;
  #ended: Promise<void>;
  #wake: (() => void)[] = [];

  constructor(args: string[], cwd: string, env: Record<string, string>) {
    const { KEEPWATCH_CONFIG: _, KEEPWATCH_ADMIN_PASSWORD: __, ...inherited } = process.env;
    this.#child = spawn(PROGRAM, args, { cwd, env: { RUST_LOG: 'warn', ...inherited, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#ended = new Promise((resolve) => this.#child.once('close', () => resolve()));
    let rest = '';
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      this.#lines.push(...lines);
      this.#tell();
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.log += text;
      this.#tell();
    });
    this.#child.once('close', () => this.#tell());
    this.#child.once('error', (error) => {
      this.log += String(error);
      this.#tell();
    });
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Waits until `look` finds something in what was said. */
  async #until<T>(what: string, look: () => T | undefined): Promise<T> {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#child.exitCode !== null || Date.now() > end) throw new Error(`no ${what} from ${this.#child.spawnargs.join(' ')}\n${this.log}`);
      await Promise.race([
        new Promise<void>((resolve) => this.#wake.push(resolve)),
        new Promise((resolve) => setTimeout(resolve, 1000)),
      ]);
    }
  }

  /** The next line of its standard output, which is JSON. */
  async json<T>(): Promise<T> {
    return JSON.parse(await this.#until('line', () => this.#lines.shift())) as T;
  }

  /** What `pattern` finds in its standard error. */
  said(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#until(String(pattern), () => pattern.exec(this.log) ?? undefined);
  }

  /** Stops it where it is, as when its machine hangs; or lets it go on. */
  hang(on: boolean): void {
    this.#child.kill(on ? 'SIGSTOP' : 'SIGCONT');
  }

  /** Asks it to end, and waits; one that does not is killed. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGCONT');
    this.#child.kill('SIGTERM');
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE_MS);
    await this.#ended;
    clearTimeout(kill);
  }
}

/** A camera of a configuration. */
export interface Listed {
  id: string;
  name: string;
  url: string;
}

/** A running node. */
export class Node {
  private constructor(
    readonly program: Program,
    /** Where it is reached, with a slash at its end. */
    readonly address: string,
  ) {}

  /** Writes a configuration and starts a node with it. Without a password it prints a link to choose one. */
  static async start(place: Place, options: { name?: string; listen?: string; cameras?: Listed[]; password?: string; more?: string } = {}): Promise<Node> {
    mkdirSync(join(place.path, 'footage'), { recursive: true });
    place.write('keepwatch.toml', `[node]\nname = "${options.name ?? 'north'}"\ndata = "data"\nlisten = "${options.listen ?? '127.0.0.1:0'}"\n\n[[disk]]\npath = "footage"\nsize = "256 MiB"\n\n${options.more ?? ''}`);
    for (const { id, name, url } of options.cameras ?? []) {
      appendFileSync(join(place.path, 'keepwatch.toml'), `\n[[camera]]\nid = "${id}"\nname = "${name}"\nurl = "${url}"\n`);
    }
    const program = place.start(
      ['run', '--ready-line', '--config', 'keepwatch.toml'], options.password === undefined ? {} : { KEEPWATCH_ADMIN_PASSWORD: options.password },
    );
    const { listening } = await program.json<{ listening: string[] }>();
    return new Node(program, `https://${listening[0]}/`);
  }
}

/** Virtual cameras. */
export class Cameras {
  /** How many were started: each has a control socket of its own. */
  static #started = 0;

  private constructor(
    readonly listening: string,
    readonly ids: string[],
    private readonly place: Place,
    private readonly control: string,
  ) {}

  static async start(place: Place, ...options: string[]): Promise<Cameras> {
    Cameras.#started += 1;
    const control = `cameras-${Cameras.#started}.sock`;
    const program = place.start(['lab', 'cameras', '--until-input-closes', '--control', control, ...options]);
    const { listening, cameras } = await program.json<{ listening: string; cameras: string[] }>();
    return new Cameras(listening, cameras, place, control);
  }

  url(id: string): string {
    return `rtsp://${this.listening}/${id}`;
  }

  /** Makes something go wrong. */
  async command(command: Record<string, unknown>): Promise<void> {
    await this.place.run('lab', 'control', this.control, JSON.stringify(command));
  }
}

/** An address of this machine's loopback network that nobody else has, as cameras of their own have one. */
export function ownAddress(): string {
  const part = (): number => 1 + Math.floor(Math.random() * 254);
  return `127.${part()}.${part()}.${part()}`;
}

/** Calls `look` until it returns something; an error after `limit_ms`. */
export async function until<T>(what: string, look: () => Promise<T | undefined>, limit_ms = PATIENCE_MS): Promise<T> {
  const end = Date.now() + limit_ms;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`no ${what} within ${limit_ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
