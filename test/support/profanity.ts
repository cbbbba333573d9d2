import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { missing } from './real-client.ts'

const TMUX = '/usr/bin/tmux'
const PROFANITY = '/usr/bin/profanity'

export const withoutProfanity = missing(TMUX, PROFANITY)

const PATIENCE_SECONDS = 30
const LOOK_EVERY_MS = 50

/** Profanity, a client for the terminal, as a person uses it: keys in, screen out. */
export class Profanity implements AsyncDisposable {
  readonly #home: string
  readonly #socket: string

  private constructor() {
    this.#home = mkdtempSync(join(tmpdir(), 'meerkat-profanity-'))
    this.#socket = join(this.#home, 'tmux')
  }

  /** Starts it and logs in. `tls` `trust` takes any certificate; `disable` uses none. */
  static async connect(options: {
    readonly jid: string
    readonly password: string
    readonly port: number
    readonly tls: 'trust' | 'disable'
  }): Promise<Profanity> {
    const profanity = new Profanity()
    try {
      profanity.#start(options)
      await profanity.shows(/logged in successfully/)
      return profanity
    } catch (error) {
      await profanity[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Types a line and Enter. */
  types(line: string): void {
    // With -l keys are text; without, a name such as Enter is a key.
    this.#tmux('send-keys', '-t', 'main', '-l', '--', line)
    this.#tmux('send-keys', '-t', 'main', 'Enter')
  }

  /** Waits until the screen shows it; answers the screen. */
  async shows(expected: RegExp): Promise<string> {
    const end = Date.now() + PATIENCE_SECONDS * 1000
    for (;;) {
      const screen = this.screen()
      if (expected.test(screen)) return screen
      if (Date.now() > end) throw new Error(`no ${expected} on the screen:\n${screen}`)
      await delay(LOOK_EVERY_MS)
    }
  }

  screen(): string {
    return this.#tmux('capture-pane', '-p', '-t', 'main')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    spawnSync(TMUX, ['-S', this.#socket, 'kill-server'])
    rmSync(this.#home, { recursive: true, force: true })
  }

  #start({ jid, password, port, tls }: Parameters<typeof Profanity.connect>[0]): void {
    const [account = ''] = jid.split('/')
    const folder = join(this.#home, 'data', 'profanity')
    mkdirSync(folder, { recursive: true })
    mkdirSync(join(this.#home, 'config', 'profanity'), { recursive: true })
    writeFileSync(
      join(folder, 'accounts'),
      [
        `[${account}]`,
        'enabled=true',
        `jid=${account}`,
        'resource=profanity',
        `password=${password}`,
        'server=127.0.0.1',
        `port=${port}`,
        `tls.policy=${tls}`,
        '',
      ].join('\n'),
    )
    writeFileSync(
      join(this.#home, 'config', 'profanity', 'profrc'),
      '[ui]\nsplash=false\n[connection]\nreconnect=0\n[otr]\npolicy=manual\n',
    )
    const environment = [
      ...['-e', `XDG_DATA_HOME=${join(this.#home, 'data')}`],
      ...['-e', `XDG_CONFIG_HOME=${join(this.#home, 'config')}`],
      ...['-e', `HOME=${this.#home}`, '-e', 'LANG=C.UTF-8'],
    ]
    this.#tmux(
      ...['-f', '/dev/null', 'new-session', '-d', '-s', 'main', '-x', '160', '-y', '50'],
      ...environment,
      ...[PROFANITY, '-a', account],
    )
  }

  #tmux(...options: readonly string[]): string {
    const { status, stdout, stderr } = spawnSync(TMUX, ['-S', this.#socket, ...options], {
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`tmux ${options[0]}: ${stderr.trim()}`)
    return stdout
  }
}
